"""Tables of ids and texts that are mapped into memory: nothing is read until it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.utils.whole_numbers import whole_number

#: Opens an array of a directory by the name of its file without the suffix.
Opener = Callable[[str], np.ndarray]


def write_array(directory: Path, name: str, array: np.ndarray) -> None:
    """Writes an array that :func:`map_array` opens."""
    np.save(directory / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def map_array(directory: Path, name: str) -> np.ndarray:
    """Maps an array.

    Raises:
        UserError: The file is missing or damaged.
    """
    path = directory / f"{name}.npy"
    try:
        # A plain array over the mapping: np.memmap is slower to slice.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is damaged ({reason}): remove {directory} and start again") from None


class TextTable:
    """Texts by row.

    Args:
        text: All texts in UTF-8, one behind the other, uint8.
        pointer: Beginning of each text and the end of the last one, int64 ``[rows + 1]``.
    """

    def __init__(self, text: np.ndarray, pointer: np.ndarray):
        self.text, self.pointer = text, pointer

    @classmethod
    def write(cls, directory: Path, name: str, texts: Iterable[str]) -> None:
        """Writes the files that :meth:`open` maps."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        pointer = np.concatenate([[0], np.cumsum([len(text) for text in encoded], dtype=np.int64)]).astype(np.int64)
        write_array(directory, name, np.frombuffer(b"".join(encoded), np.uint8))
        write_array(directory, f"{name}_ptr", pointer)

    @classmethod
    def open(cls, opened: Opener, name: str) -> TextTable:
        """Maps what :meth:`write` wrote."""
        return cls(opened(name), opened(f"{name}_ptr"))

    def __len__(self) -> int:
        return len(self.pointer) - 1

    def encoded(self, row: int) -> bytes:
        """Returns a text in UTF-8."""
        return self.text[self.pointer[row] : self.pointer[row + 1]].tobytes()

    def __getitem__(self, row: int) -> str:
        return self.encoded(row).decode("utf-8", "replace")


class IdTable:
    """Raw ids by row, and rows by raw id.

    Args:
        ids: int64 ``[rows]``, or texts.
        order: Rows in the order of their ids, int32 ``[rows]``; that of texts is the order of their bytes.
        ascending: Numbers in this order, int64 ``[rows]``; None for texts.
    """

    def __init__(self, ids: np.ndarray | TextTable, order: np.ndarray, ascending: np.ndarray | None):
        self._ids, self._order, self._ascending = ids, order, ascending

    @classmethod
    def write(cls, directory: Path, name: str, ids: list[Any] | np.ndarray) -> None:
        """Writes the files that :meth:`open` maps."""
        if len(ids) and isinstance(ids[0], str):
            TextTable.write(directory, name, ids)
            keys = [text.encode("utf-8", "surrogatepass") for text in ids]
            order = np.array(sorted(range(len(ids)), key=keys.__getitem__), np.int32)
        else:
            numbers = np.asarray(ids, np.int64)
            write_array(directory, name, numbers)
            order = np.argsort(numbers, kind="stable").astype(np.int32)
            write_array(directory, f"{name}_ascending", numbers[order])
        write_array(directory, f"{name}_order", order)

    @classmethod
    def open(cls, opened: Opener, name: str) -> IdTable:
        """Maps what :meth:`write` wrote."""
        ids = opened(name)
        if ids.dtype == np.uint8:
            return cls(TextTable.open(opened, name), opened(f"{name}_order"), None)
        return cls(ids, opened(f"{name}_order"), opened(f"{name}_ascending"))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, row: int) -> int | str:
        return self._ids[row] if isinstance(self._ids, TextTable) else int(self._ids[row])

    def find(self, text: str) -> int | None:
        """Returns the row of an id; None if it is unknown.

        Args:
            text: The id as :func:`gnnrec.inference.movie_catalog.find_id` takes it.
        """
        ids = self._ids
        if isinstance(ids, TextTable):  # numbers are compared by NumPy
            wanted = text.encode("utf-8", "surrogatepass")
            place = first_place(len(ids), lambda place: ids.encoded(self._order[place]) >= wanted)
            found = place < len(ids) and ids.encoded(self._order[place]) == wanted
        else:
            if (number := whole_number(text)) is None:
                return None
            place = int(np.searchsorted(self._ascending, number))
            found = place < len(ids) and self._ascending[place] == number
        return int(self._order[place]) if found else None

    def examples(self, count: int = 3) -> list[int | str]:
        """Returns the lowest ids."""
        return [self[row] for row in self._order[:count].tolist()]


def first_place(count: int, reached: Callable[[int], bool]) -> int:
    """Returns the first place from 0 to ``count`` where a condition holds that holds behind it too."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if reached(middle):
            high = middle
        else:
            low = middle + 1
    return low
