"""Writes files that are divided among the ranks of a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.progress import RankProgress

Item = TypeVar("Item")


def write_partitioned(
    items: Sequence[Item],
    write: Callable[[Item], None],
    unit: str,
    world: World,
    size: Callable[[Item], int] = lambda item: 1,
) -> None:
    """Writes this rank's items. After a failure the rank skips its other items, and all ranks raise at the end.

    Args:
        items: Items of this rank.
        write: Writes one item without collectives.
        unit: Unit of the progress bar.
        world: The ranks; every rank calls this.
        size: Size of an item in this unit.

    Raises:
        UserError: A rank could not write; the same on every rank.
        Stopped: A rank was asked to stop.
    """
    problem = None
    with RankProgress(unit, sum(map(size, items)), world) as bar:
        for item in world.lockstep(items):
            if problem is not None:
                continue
            try:
                write(item)
            except UserError as error:
                problem = str(error)
            bar.add(size(item))
    problems = [text for text in world.all_gather_objects(problem) if text]
    if problems:
        raise UserError(problems[0])
