"""Reads checkpoints on any number of ranks, and rejects incomplete and damaged ones."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.partition import Partition
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import NodeTables, NoTables
from gnnrec.training.checkpoint.info import USE_ANOTHER, CheckpointInfo, Tensors, read_info, user_range
from gnnrec.training.checkpoint.rows import RowFiles, copy_rows
from gnnrec.training.checkpoint.tensors import Kind, check_finite, check_kinds, kinds_of, load_tensors
from gnnrec.utils.stored import check_recorded


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
    """Reads the files ``PREFIXmodel.pt`` and ``PREFIXusers-*.pt``; arguments as in :func:`load_checkpoint`.

    All of them are checked before anything is loaded.
    """
    path, state = directory / f"{prefix}model.pt", read_replicated(directory, f"{prefix}model", info)
    check_kinds(path, state, kinds_of(model.state_dict()))
    kinds = {name: (shape[1:], dtype) for name, (shape, dtype) in kinds_of(users.tables()).items()}
    stored = read_rows(directory, f"{prefix}users", info, part, users.memory.host_memory, kinds)
    model.load_state_dict(state)
    copy_rows(stored, users)


def read_replicated(directory: Path, stem: str, info: CheckpointInfo) -> Tensors:
    """The tensors of ``STEM.pt``."""
    _verify(directory, f"{stem}.pt", info)
    return load_tensors(directory / f"{stem}.pt")


def read_rows(
    directory: Path,
    stem: str,
    info: CheckpointInfo,
    part: Partition,
    memory: RowMemory | None = None,
    expected: dict[str, Kind] | None = None,
) -> Tensors:
    """Reads the rows of ``part`` from the files ``STEM-*.pt`` of any number of ranks.

    Args:
        directory: The checkpoint.
        stem: Name of the tables.
        info: Its description.
        part: The users to read.
        memory: Memory for the rows; None for host memory.
        expected: Table -> shape and type of one row; None takes those of the first file.

    Raises:
        UserError: The files do not hold all rows, are damaged, or hold other tables.
    """
    for name in sorted(info.files):
        first, last = user_range(name, stem) or (0, 0)
        if max(first, part.start) < min(last, part.stop):
            _verify(directory, name, info)
    return RowFiles(directory, stem, info, expected).read(part, memory)


def find_damage(directory: Path, world: World, finite: bool = False) -> str | None:
    """Describes the damage of a checkpoint in one line; None for a sound one. The ranks divide the files.

    Args:
        directory: The checkpoint.
        world: The ranks; every rank calls this.
        finite: Take numbers that are not finite for damage too.
    """
    damage = None
    try:
        info = read_info(directory)
        for name in sorted(info.files)[world.rank :: world.size]:
            _verify(directory, name, info)
            if finite:
                check_finite(directory / name, load_tensors(directory / name, mapped=True))
    except UserError as error:
        damage = str(error)
    return next((text for text in world.all_gather_objects(damage) if text), None)


def _verify(directory: Path, name: str, info: CheckpointInfo) -> None:
    check_recorded(directory / name, {"sha256": info.files.get(name)}, USE_ANOTHER, sizes=False)
