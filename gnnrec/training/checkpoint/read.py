"""Reads checkpoints on any number of ranks, and rejects incomplete and damaged ones."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.partition import Partition
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import NodeTables, NoTables
from gnnrec.training.checkpoint.info import USE_ANOTHER, CheckpointInfo, Tensors, read_info, user_range
from gnnrec.utils import files


@torch.no_grad()
def load_checkpoint(directory: Path, model: nn.Module, users: NodeTables | NoTables, part: Partition) -> CheckpointInfo:
    """Reads the weights of a checkpoint written on any number of ranks.

    Args:
        directory: The checkpoint.
        model: Receives the replicated part.
        users: Receives the rows of ``part``.
        part: The users of this rank.

    Raises:
        UserError: A file is missing or damaged, or belongs to a model of another shape.
    """
    info = read_info(directory)
    load_weights(directory, info, model, users, part)
    return info


@torch.no_grad()
def load_weights(
    directory: Path,
    info: CheckpointInfo,
    model: nn.Module,
    users: NodeTables | NoTables,
    part: Partition,
    prefix: str = "",
) -> None:
    """Reads the files ``PREFIXmodel.pt`` and ``PREFIXusers-*.pt``; arguments as in :func:`load_checkpoint`."""
    load_model(directory, info, model, prefix)
    load_users(directory, info, users, part, prefix)


def load_model(directory: Path, info: CheckpointInfo, model: nn.Module, prefix: str = "") -> None:
    """Reads the replicated part alone, see :func:`load_weights`."""
    state = read_replicated(directory, f"{prefix}model", info)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        path = directory / f"{prefix}model.pt"
        raise UserError(f"{path} does not fit the model of config.yaml: {reason}") from None


@torch.no_grad()
def load_users(
    directory: Path, info: CheckpointInfo, users: NodeTables | NoTables, part: Partition, prefix: str = ""
) -> None:
    """Reads the user rows alone, see :func:`load_weights`."""
    tables = users.tables()
    stored = read_rows(directory, f"{prefix}users", info, part, memory=users.memory.host_memory)
    shapes = {key: (part.num_users, *table.shape[1:]) for key, table in tables.items()}
    stored_shapes = {key: tuple(table.shape) for key, table in stored.items()}
    if part.num_users and stored_shapes != shapes:
        raise UserError(f"{directory}: users-*.pt hold tables {stored_shapes}; the model of config.yaml has {shapes}")
    for key, table in tables.items():
        table.copy_(stored[key])


def read_replicated(directory: Path, stem: str, info: CheckpointInfo) -> Tensors:
    """The tensors of ``STEM.pt``."""
    _verify(directory, f"{stem}.pt", info)
    return torch.load(directory / f"{stem}.pt", map_location="cpu", weights_only=True)


def read_rows(
    directory: Path,
    stem: str,
    info: CheckpointInfo,
    part: Partition,
    verified: bool = False,
    memory: RowMemory | None = None,
) -> Tensors:
    """Reads the rows of ``part`` from the files ``STEM-*.pt`` of any number of ranks.

    Args:
        directory: The checkpoint.
        stem: Name of the tables.
        info: Its description.
        part: The users to read.
        verified: Checksums have been compared before (:func:`find_damage`); then only these rows are read.
        memory: Memory for the rows; None for host memory.

    Raises:
        UserError: The files do not hold all rows, or are damaged.
    """
    tensors: Tensors = {}
    memory = memory or RowMemory(torch.device("cpu"))
    covered = 0
    for name in sorted(info.files):
        first, last = user_range(name, stem) or (0, 0)
        start, stop = max(first, part.start), min(last, part.stop)
        if start >= stop:
            continue
        if not verified:
            _verify(directory, name, info)
        for key, table in _map(directory / name).items():
            if key not in tensors:
                tensors[key] = memory.zeros((part.num_users, *table.shape[1:]), table.dtype)
            tensors[key][start - part.start : stop - part.start] = table[start - first : stop - first]
        covered += stop - start
    if covered != part.num_users:
        raise UserError(f"{directory} holds {covered} of {part.num_users} users of this rank{USE_ANOTHER}")
    return tensors


def pick_rows(directory: Path, stem: str, info: CheckpointInfo, rows: Tensor) -> Tensors:
    """Reads single rows from the files ``STEM-*.pt``, whose checksums have been compared before.

    Args:
        directory: The checkpoint.
        stem: Name of the tables.
        info: Its description.
        rows: Global rows, int64 ``[n]``.
    """
    tensors: Tensors = {}
    for name in sorted(info.files):
        first, last = user_range(name, stem) or (0, 0)
        in_file = (rows >= first) & (rows < last)
        if in_file.any():
            for key, table in _map(directory / name).items():
                picked = tensors.setdefault(key, table.new_empty(rows.numel(), *table.shape[1:]))
                picked[in_file] = table[rows[in_file] - first]
    return tensors


def find_damage(directory: Path, world: World) -> str | None:
    """Describes the damage of a checkpoint in one line; None for a sound one. The ranks divide the files."""
    damage = None
    try:
        info = read_info(directory)
        for name in sorted(info.files)[world.rank :: world.size]:
            _verify(directory, name, info)
    except UserError as error:
        damage = str(error)
    return next((text for text in world.all_gather_objects(damage) if text), None)


def _map(path: Path) -> Tensors:
    """Memory-maps the tensors of a file: only rows that are accessed are read."""
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _verify(directory: Path, name: str, info: CheckpointInfo) -> None:
    path = directory / name
    if not path.exists():
        raise UserError(f"{path} is missing{USE_ANOTHER}")
    if files.sha256(path) != info.files.get(name):
        raise UserError(f"{path} does not match its checksum{USE_ANOTHER}")
