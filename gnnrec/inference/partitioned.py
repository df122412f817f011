"""Files that the ranks of a job write, each its share of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.progress import Rate

Piece = TypeVar("Piece")


def write_shares(
    pieces: Sequence[Piece],
    write: Callable[[Piece], None],
    unit: str,
    world: World,
    size: Callable[[Piece], int] = lambda piece: 1,
) -> None:
    """Writes this rank's pieces. A rank that cannot go on does nothing more, and all fail when the others are done.

    Args:
        pieces: Of this rank.
        write: Writes one; no collective.
        unit: What is counted.
        world: The ranks; every rank calls this.
        size: How many of these a piece is.

    Raises:
        UserError: A rank could not write; the same on every rank.
        Stopped: A rank was told to stop.
    """
    problem = None
    with Rate(unit, sum(map(size, pieces)), world) as rate:
        for piece in world.lockstep(pieces):
            if problem is not None:
                continue
            try:
                write(piece)
            except UserError as error:
                problem = str(error)
            rate.add(size(piece))
    problems = [each for each in world.all_gather_objects(problem) if each]
    if problems:
        raise UserError(problems[0])
