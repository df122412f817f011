"""Titles of movies: by row, by their beginning, and by a text in them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from gnnrec.serving.tables import Opener, TextTable, first_place, write_array


class TitleTable:
    """Titles of all movies, and their folded forms, in which case does not matter.

    Args:
        opened: Opens an array by name.
    """

    def __init__(self, opened: Opener):
        self._titles = TextTable.open(opened, "titles")
        self._folded, self._order = TextTable.open(opened, "folded_titles"), opened("title_order")
        self._searched, self._rows = TextTable.open(opened, "searched_titles"), opened("searched_rows")

    @classmethod
    def write(cls, directory: Path, titles: list[str], counts: np.ndarray) -> None:
        """Writes the files that are mapped.

        Args:
            directory: Their directory.
            titles: Titles by row.
            counts: Ratings of each movie, int64 ``[movies]``.
        """
        TextTable.write(directory, "titles", titles)
        folded = [_folded(title) for title in titles]
        TextTable.write(directory, "folded_titles", [title + "\n" for title in folded])
        keys = [title.encode("utf-8", "surrogatepass") for title in folded]
        write_array(directory, "title_order", np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int32))
        rows = np.argsort(-counts, kind="stable").astype(np.int32)
        TextTable.write(directory, "searched_titles", [folded[row] + "\n" for row in rows.tolist()])
        write_array(directory, "searched_rows", rows)

    def __len__(self) -> int:
        return len(self._titles)

    def __getitem__(self, row: int) -> str:
        return self._titles[row]

    def named(self, text: str) -> np.ndarray:
        """Returns the rows of the titles that are a text, or else of those that begin with it: ascending."""
        key, order, folded = _folded(text.strip()).encode("utf-8", "surrogatepass"), self._order, self._folded
        if not key:
            return np.empty(0, np.int32)
        first = first_place(len(order), lambda place: folded.encoded(order[place])[:-1] >= key)
        end = first_place(len(order), lambda place: folded.encoded(order[place])[:-1] > key)
        if end == first:
            end = first_place(len(order), lambda place: folded.encoded(order[place])[: len(key)] > key)
        return np.sort(order[first:end])

    def search(self, text: str, count: int) -> list[int]:
        """Returns the rows of the most rated movies whose titles have a text in them.

        Args:
            text: The text; an empty one is in no title.
            count: Most movies.
        """
        wanted = _folded(text.strip()).encode("utf-8", "surrogatepass")
        ends, found, place = self._searched.pointer, list[int](), -1
        while wanted and len(found) < count and (place := self._content.find(wanted, place + 1)) >= 0:
            title = int(np.searchsorted(ends, place, side="right")) - 1
            found.append(int(self._rows[title]))
            place = int(ends[title + 1]) - 1
        return found

    @cached_property
    def _content(self) -> bytes:
        """All titles in the order of a search; a mapping has no method to find something."""
        return self._searched.text.tobytes()


def _folded(title: str) -> str:
    return title.casefold().replace("\n", " ")
