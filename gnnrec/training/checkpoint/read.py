"""Reads checkpoints, on any number of ranks, and refuses what is not whole."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.partition import Partition
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import NodeTables, NoTables
from gnnrec.training.checkpoint.info import CheckpointInfo, Tensors, read_info, user_range
from gnnrec.utils import files


@torch.no_grad()
def load_checkpoint(directory: Path, model: nn.Module, users: NodeTables | NoTables, part: Partition) -> CheckpointInfo:
    """Reads the weights of a checkpoint written on any number of ranks.

    Args:
        directory: The checkpoint.
        model: Takes the replicated part.
        users: Takes the rows of ``part``.
        part: The range that this rank owns now.

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
    """The first half of :func:`load_weights`."""
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
    """The second half of :func:`load_weights`."""
    expected = users.tables()
    stored = read_rows(directory, f"{prefix}users", info, part, memory=users.memory.of_host)
    wanted = {key: (part.num_users, *row.shape[1:]) for key, row in expected.items()}
    found = {key: tuple(table.shape) for key, table in stored.items()}
    if part.num_users and found != wanted:
        raise UserError(f"{directory}: users-*.pt hold tables {found}, and the model of config.yaml has {wanted}")
    for key, row in expected.items():
        row.copy_(stored[key])


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
    """The rows of ``part`` from the files ``STEM-*.pt``, whoever wrote them.

    Args:
        directory: The checkpoint.
        stem: Which tables.
        info: Its description.
        part: The rows.
        verified: Checksums have been compared before (:func:`find_damage`); then only these rows are read.
        memory: What they are read into; None for host memory.

    Raises:
        UserError: They do not hold all of them.
    """
    found: Tensors = {}
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
            if key not in found:
                found[key] = memory.zeros((part.num_users, *table.shape[1:]), table.dtype)
            found[key][start - part.start : stop - part.start] = table[start - first : stop - first]
        covered += stop - start
    if covered != part.num_users:
        raise UserError(f"{directory} holds {covered} of {part.num_users} users of this rank: use another checkpoint")
    return found


def pick_rows(directory: Path, stem: str, info: CheckpointInfo, rows: Tensor) -> Tensors:
    """Single rows from the files ``STEM-*.pt``, whose checksums have been compared.

    Args:
        directory: The checkpoint.
        stem: Which tables.
        info: Its description.
        rows: Global rows, int64 ``[n]``.
    """
    found: Tensors = {}
    for name in sorted(info.files):
        first, last = user_range(name, stem) or (0, 0)
        here = (rows >= first) & (rows < last)
        if here.any():
            for key, table in _map(directory / name).items():
                picked = found.setdefault(key, table.new_empty(rows.numel(), *table.shape[1:]))
                picked[here] = table[rows[here] - first]
    return found


def find_damage(directory: Path, world: World) -> str | None:
    """What is wrong with a checkpoint, in one line, or None; the ranks share the reading, and all learn of it."""
    damage = None
    try:
        info = read_info(directory)
        for name in sorted(info.files)[world.rank :: world.size]:
            _verify(directory, name, info)
    except UserError as error:
        damage = str(error)
    return next((each for each in world.all_gather_objects(damage) if each), None)


def _map(path: Path) -> Tensors:
    """Tensors in memory that is mapped: only the rows that are looked at are read."""
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _verify(directory: Path, name: str, info: CheckpointInfo) -> None:
    path = directory / name
    if not path.exists():
        raise UserError(f"{path} is missing: use another checkpoint")
    if files.sha256(path) != info.files.get(name):
        raise UserError(f"{path} does not match its checksum: use another checkpoint")
