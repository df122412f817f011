"""Progress of long operations."""

from __future__ import annotations

import sys

from tqdm import tqdm

from gnnrec.distributed.world import World


class RankProgress:
    """A progress bar with a rate, for rank 0 on a terminal; nothing elsewhere.

    Args:
        unit: Unit of the count.
        total: Number of units on rank 0.
        world: The ranks.
    """

    def __init__(self, unit: str, total: int, world: World):
        shown = world.is_main and sys.stderr.isatty()
        self._bar = tqdm(total=total, unit=f" {unit}", unit_scale=True, leave=False, disable=not shown)

    def add(self, number: int) -> None:
        """Counts further units as done."""
        self._bar.update(number)

    def __enter__(self) -> RankProgress:
        return self

    def __exit__(self, *problem: object) -> None:
        self._bar.close()
