"""What a page consists of, whatever it looks like: sections with figures, tables and lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        name: Of its PNG, without ending.
        title: Above it.
        caption: Below it: what to see, in a sentence or two. May be empty.
        spec: Vega-Lite, without size, title and theme (:mod:`gnnrec.reporting.theme`).
        height: Pixels.
        wide: Takes the whole width of the page, else half of it.
    """

    name: str
    title: str
    caption: str
    spec: dict[str, Any]
    height: int = 240
    wide: bool = False
    kind: str = "figure"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: the first column is text, the others are aligned to the right.

    Attributes:
        caption: Below it; may be empty.
        head: Names of the columns.
        rows: Cells as text. A cell may have a second line, behind a line break: it is shown smaller.
        strong: Number of the row to stand out; None for none.
        wide: Takes the whole width of the page, else half of it.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]
    strong: int | None = None
    wide: bool = False
    kind: str = "table"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of a list: a movie, what it is, and a figure."""

    title: str
    note: str
    value: str


@dataclasses.dataclass(frozen=True)
class MovieLists:
    """Short lists side by side.

    Attributes:
        title: Above all of them; may be empty.
        lists: Heading and entries of each.
    """

    title: str
    lists: list[tuple[str, list[Entry]]]
    kind: str = "lists"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: For links to it.
        title: Heading; also in the navigation.
        text: What it shows, in a sentence or two; may be empty.
        items: In this order.
        folded: Shown only on request.
    """

    anchor: str
    title: str
    text: str
    items: Sequence[Figure | Table | MovieLists]
    folded: bool = False


@dataclasses.dataclass(frozen=True)
class Tile:
    """A figure in large letters: ``0.7814``, what it is, and a remark."""

    value: str
    label: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: Heading.
        subtitle: Below it, in one line.
        facts: Name -> value, in small letters.
        tiles: The figures that matter most.
        notices: What the reader must know first, such as that the run has not ended.
        sections: The rest.
    """

    title: str
    subtitle: str
    facts: dict[str, str]
    tiles: list[Tile]
    notices: list[str]
    sections: list[Section]

    @property
    def figures(self) -> list[Figure]:
        """All charts."""
        return [item for section in self.sections for item in section.items if isinstance(item, Figure)]
