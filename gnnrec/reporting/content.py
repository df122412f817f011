"""Content of a page, independent of its layout: sections with figures, tables and lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        name: File name of the PNG, without suffix.
        title: Heading.
        caption: One or two sentences below the chart; may be empty.
        spec: Vega-Lite, without size, title and theme (:mod:`gnnrec.reporting.theme`).
        height: Pixels.
        wide: Whether it has the whole width of the page, or half of it.
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
    """A table. The first column is text, the others are aligned to the right.

    Attributes:
        caption: Text below the table; may be empty.
        head: Names of the columns.
        rows: Cells as text. Text after a line break is shown smaller.
        strong: Index of the highlighted row, or None.
        wide: Whether it has the whole width of the page, or half of it.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]
    strong: int | None = None
    wide: bool = False
    kind: str = "table"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A movie in a list, with a note and a number."""

    title: str
    note: str
    value: str


@dataclasses.dataclass(frozen=True)
class MovieLists:
    """Short lists side by side.

    Attributes:
        title: Common heading; may be empty.
        lists: Heading and entries of each list.
    """

    title: str
    lists: list[tuple[str, list[Entry]]]
    kind: str = "lists"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: Target of links.
        title: Heading, also in the navigation.
        text: One or two sentences below the heading; may be empty.
        items: Content in order. An item of half width that would leave a gap beside it is made wide.
        folded: Whether the section is collapsed at first.
    """

    anchor: str
    title: str
    text: str
    items: Sequence[Figure | Table | MovieLists]
    folded: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", _without_gaps(self.items))


@dataclasses.dataclass(frozen=True)
class Tile:
    """A number in large type, such as ``0.7814``, with its name and a remark."""

    value: str
    label: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: Heading.
        subtitle: One line below the heading.
        facts: Name -> value, in small type.
        tiles: The main results.
        notices: Warnings, such as that the run has not ended.
        sections: All sections.
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


def _without_gaps(items: Sequence[Figure | Table | MovieLists]) -> list[Figure | Table | MovieLists]:
    """Widens each item of half width that has no neighbor in its row."""
    filled: list[Figure | Table | MovieLists] = []
    open_row = False
    for item in items:
        half = isinstance(item, (Figure, Table)) and not item.wide
        if open_row and not half:
            filled[-1] = _widened(filled[-1])
        filled.append(item)
        open_row = half and not open_row
    if open_row:
        filled[-1] = _widened(filled[-1])
    return filled


def _widened(item: Figure | Table | MovieLists) -> Figure | Table | MovieLists:
    return item if isinstance(item, MovieLists) else dataclasses.replace(item, wide=True)
