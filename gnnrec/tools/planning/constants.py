"""Measured constants, written into this package by ``python -m benchmarks.plan_constants``."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

PATH = Path(__file__).with_name("constants.json")


@dataclasses.dataclass(frozen=True)
class Constants:
    """Cost of a unit of work on one core, with the origin of the measurement.

    Attributes:
        commit: Git commit of the measured code.
        date: ``YYYY-MM-DD``.
        hardware: Description of the machine.
        seconds: Seconds of a unit of each kind of :func:`gnnrec.tools.planning.work.work_of`.
        sharing: Slowdown of all work if two ranks share the machine.
        all_reduce_latency: Seconds of an all-reduce of few bytes between two ranks of one machine.
        all_reduce_bytes_per_second: Bandwidth of their all-reduces.
        base_bytes: Memory of a rank after imports and compilation, with a tiny dataset.
        user_moments: Temporary copies of user states that the formulas do not count, in units of ``users * dim``.
        movie_moments: The same for movies.
        largest: Largest count of each kind of work that was measured.
        fit_error: Largest relative error of a step among the measured ones.
        mean_fit_error: Mean relative error of the measured steps.
        check_error: Largest relative error of a step in other runs; 0 before ``benchmarks.plan_error`` was run.
        memory_error: Largest relative error of peak memory in these runs.
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
    largest: dict[str, float]
    fit_error: float
    mean_fit_error: float
    check_error: float = 0.0
    memory_error: float = 0.0


@functools.cache
def constants() -> Constants:
    """Reads the constants of this package."""
    return Constants(**json.loads(PATH.read_text(encoding="utf-8")))
