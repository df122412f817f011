"""User rows of a checkpoint, in the files that its ranks wrote."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gnnrec.errors import UserError
from gnnrec.graph.partition import Partition
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import NodeTables, NoTables
from gnnrec.training.checkpoint.info import USE_ANOTHER, CheckpointInfo, Tensors, by_user_name, user_range
from gnnrec.training.checkpoint.tensors import Kind, check_kinds, kinds_of, load_tensors


@torch.no_grad()
def copy_rows(rows: Tensors, users: NodeTables | NoTables) -> None:
    """Copies rows that were read into the tables of the same names; a rank without users has none."""
    tables = users.tables()
    for name, values in rows.items():
        tables[name].copy_(values)


class RowFiles:
    """The files ``STEM-FIRST-LAST.pt`` of a checkpoint, mapped: only rows that are accessed are read.

    They stay readable when the checkpoint is removed.

    Args:
        directory: The checkpoint.
        stem: Name of the tables.
        info: Its description.
        expected: Table -> shape and type of one row; None takes those of the first file.

    Raises:
        UserError: A file holds something else, or rows of another file.
    """

    def __init__(self, directory: Path, stem: str, info: CheckpointInfo, expected: dict[str, Kind] | None = None):
        self.directory, self._stem = directory, stem
        ranges = sorted((found, name) for name in info.files if (found := user_range(name, stem)))
        self._files: list[tuple[range, Tensors]] = []
        end = 0
        for (first, last), name in ranges:
            if first < end or last < first:
                raise UserError(f"{directory / name} holds rows of another file too: {USE_ANOTHER}")
            end = last
            if first < last:
                tensors = load_tensors(directory / name, mapped=True)
                if expected is None:
                    expected = {key: (shape[1:], dtype) for key, (shape, dtype) in kinds_of(tensors).items()}
                self._files.append((range(first, last), tensors))
        if expected is not None:
            self.check(expected)

    @property
    def num_users(self) -> int:
        """Users that the files have rows of."""
        return self._files[-1][0].stop if self._files else 0

    def check(self, expected: dict[str, Kind]) -> None:
        """Raises a :class:`UserError` if the tables are not the expected ones (see the class)."""
        for rows, tables in self._files:
            path = self.directory / by_user_name(self._stem, rows.start, rows.stop)
            check_kinds(path, tables, {key: ((len(rows), *shape), dtype) for key, (shape, dtype) in expected.items()})

    def read(self, part: Partition, memory: RowMemory | None = None) -> Tensors:
        """Reads the rows of a range of users.

        Args:
            part: The users.
            memory: Memory for the rows; None for host memory.

        Raises:
            UserError: The checkpoint does not hold all of them.
        """
        tensors: Tensors = {}
        covered = 0
        memory = memory or RowMemory(torch.device("cpu"))
        for rows, tables in self._files:
            start, stop = max(rows.start, part.start), min(rows.stop, part.stop)
            if start >= stop:
                continue
            for key, table in tables.items():
                if key not in tensors:
                    tensors[key] = memory.zeros((part.num_users, *table.shape[1:]), table.dtype)
                tensors[key][start - part.start : stop - part.start] = table[start - rows.start : stop - rows.start]
            covered += stop - start
        if covered != part.num_users:
            raise UserError(f"{self.directory} holds {covered} of {part.num_users} users of this rank: {USE_ANOTHER}")
        return tensors

    def pick(self, rows: Tensor) -> Tensors:
        """Reads single rows.

        Args:
            rows: Global rows, int64 ``[n]``.

        Raises:
            UserError: The checkpoint does not hold all of them.
        """
        tensors: Tensors = {}
        covered = 0
        for held, tables in self._files:
            in_file = (rows >= held.start) & (rows < held.stop)
            if in_file.any():
                for key, table in tables.items():
                    picked = tensors.setdefault(key, table.new_empty(rows.numel(), *table.shape[1:]))
                    picked[in_file] = table[rows[in_file] - held.start]
                covered += int(in_file.sum())
        if covered != rows.numel():
            raise UserError(f"{self.directory} holds {covered} of {rows.numel()} users that are needed: {USE_ANOTHER}")
        return tensors
