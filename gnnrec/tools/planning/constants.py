"""The measured constants, which ``python -m benchmarks.plan_constants`` writes into this package."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

PATH = Path(__file__).with_name("constants.json")


@dataclasses.dataclass(frozen=True)
class Constants:
    """What a unit of work costs one core, and where that was measured.

    Attributes:
        commit: Of the code that was measured.
        date: ``YYYY-MM-DD``.
        hardware: In words.
        seconds: Seconds of a unit of each kind of :func:`gnnrec.tools.planning.work.work_of`.
        sharing: Factor of all seconds where two ranks share the machine.
        all_reduce_latency: Seconds of an all-reduce between two ranks of one machine, however small.
        all_reduce_bytes_per_second: Bytes that they reduce in a second, beyond that.
        base_bytes: Memory of a rank that has imported and compiled everything and trains next to nothing.
        user_moments: Copies of the channels of users that come and go beside what formulas count, or that the C
            library keeps.
        movie_moments: The same of movies.
        read_bytes_per_rating: Memory of a rank while it reads its ratings, beyond that of its start.
        largest: Largest count of each kind of work that was measured.
        fit_error: Largest relative error of a step among the measured ones.
        mean_fit_error: Mean of them.
        check_error: Largest relative error of a step of other runs; 0 until ``benchmarks.plan_error`` was run.
        memory_error: The same of peak memory.
    """

    commit: str
    date: str
    hardware: str
    seconds: dict[str, float]
    sharing: float
    all_reduce_latency: float
    all_reduce_bytes_per_second: float
    base_bytes: float
    user_moments: float
    movie_moments: float
    read_bytes_per_rating: float
    largest: dict[str, float]
    fit_error: float
    mean_fit_error: float
    check_error: float = 0.0
    memory_error: float = 0.0


@functools.cache
def constants() -> Constants:
    """Those of this package."""
    return Constants(**json.loads(PATH.read_text(encoding="utf-8")))
