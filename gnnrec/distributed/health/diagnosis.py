"""Status that ranks report about themselves, and the diagnosis of lost and stalled ranks from it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from gnnrec.errors import UserError

_PACKAGE = Path(__file__).parents[2]
#: Every collective passes through these files: their caller is the location to report.
_COLLECTIVE_FILES = {str(_PACKAGE / name) for name in ("distributed/world.py", "distributed/collectives.py")}
#: Reason of a rank that left because it has finished.
DONE = "finished"
_STANDARD_LIBRARY = str(Path(os.__file__).parent)


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """Timeouts for other ranks, in seconds; 0 for no limit.

    Attributes:
        lost: A rank without a heartbeat for this time is lost.
        stall: A rank that keeps another one waiting in a collective for this time has stalled.
    """

    lost: float = 60
    stall: float = 600

    @classmethod
    def from_environment(cls) -> Timeouts:
        """Reads ``GNNREC_LOST_SECONDS`` and ``GNNREC_STALL_SECONDS``.

        Raises:
            UserError: One of them is not a number of seconds.
        """
        return cls(**{name: _seconds(name, value) for name, value in dataclasses.asdict(cls()).items()})


def _seconds(name: str, default: float) -> float:
    variable = f"GNNREC_{name.upper()}_SECONDS"
    text = os.environ.get(variable, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{variable}={text}: must be a number of seconds, 0 for no limit")
    return seconds


@dataclasses.dataclass(frozen=True)
class RankStatus:
    """Status that one rank reports about itself.

    Attributes:
        host: Name of its machine.
        pid: Process id.
        beat: Number of its heartbeats.
        entered: Collectives entered.
        waiting: Seconds that it has been waiting in a collective; 0 outside.
        doing: Current activity and location.
        left: Reason for leaving, :data:`DONE` or the error; empty while it runs.
        diagnosis: Its diagnosis of lost ranks; empty if it found none.
    """

    host: str
    pid: int
    beat: int = 0
    entered: int = 0
    waiting: float = 0.0
    doing: str = "starting"
    left: str = ""
    diagnosis: str = ""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> RankStatus:
        return cls(**json.loads(text))

    @classmethod
    def of_this_process(cls) -> RankStatus:
        return cls(socket.gethostname(), os.getpid())


def diagnose(
    rank: int, statuses: list[RankStatus], silence: list[float], waited: float, timeouts: Timeouts
) -> str | None:
    """Decides whether this rank gives up waiting for others.

    Args:
        rank: This rank.
        statuses: The latest status of every rank.
        silence: Seconds since each status changed.
        waited: Seconds that this rank has been waiting in a collective.
        timeouts: Limits of both.

    Returns:
        A sentence that names the lost or stalled ranks; None if there are none.
    """
    for status in statuses:
        if status.diagnosis:
            return status.diagnosis
    others, own_entered = [other for other in range(len(statuses)) if other != rank], statuses[rank].entered
    silent = [other for other in others if not statuses[other].left and exceeds(silence[other], timeouts.lost)]
    if silent:
        return describe_silent(silent, statuses, silence)
    behind = [other for other in others if statuses[other].entered < own_entered]
    departed = [other for other in behind if statuses[other].left]
    if departed and exceeds(waited, timeouts.lost):
        return describe_departed(departed, statuses)
    if behind and exceeds(waited, timeouts.stall):
        fewest = min(statuses[other].entered for other in behind)
        stalled = [other for other in behind if statuses[other].entered == fewest]
        names = list_ranks(stalled, lambda other: rank_label(other, statuses, f", {statuses[other].doing}"))
        waiting = f"the others waiting for {waited:.0f} s ({statuses[rank].doing})"
        return f"{names} {'have' if len(stalled) > 1 else 'has'} kept {waiting}; GNNREC_STALL_SECONDS is the limit"
    if all(status.waiting and exceeds(status.waiting, timeouts.stall) for status in statuses):
        names = list_ranks(
            range(len(statuses)), lambda other: rank_label(other, statuses, f", {statuses[other].doing}")
        )
        return f"all ranks wait for each other (a fault of the network or the program): {names}"
    return None


def describe_silent(ranks: list[int], statuses: list[RankStatus], silence: list[float]) -> str:
    """A sentence about ranks that stopped sending heartbeats."""
    names = list_ranks(ranks, lambda rank: rank_label(rank, statuses, f", last {statuses[rank].doing}"))
    seconds = max(silence[rank] for rank in ranks)
    return f"{names} {'have' if len(ranks) > 1 else 'has'} sent no heartbeat for {seconds:.0f} s"


def describe_departed(ranks: list[int], statuses: list[RankStatus]) -> str:
    """A sentence about ranks that left by themselves, with their reasons."""
    return list_ranks(ranks, lambda rank: f"{rank_label(rank, statuses)} has left ({statuses[rank].left})")


def rank_label(rank: int, statuses: list[RankStatus], detail: str = "") -> str:
    """Rank, host, process id and further details of a rank: ``rank 1 (host a, pid 7)``."""
    return f"rank {rank} (host {statuses[rank].host}, pid {statuses[rank].pid}{detail})"


def list_ranks(ranks: Sequence[int], describe: Callable[[int], str], most: int = 4) -> str:
    """Describes the first ranks, and counts the others."""
    more = f" and {len(ranks) - most} more" if len(ranks) > most else ""
    return ", ".join(map(describe, ranks[:most])) + more


def current_location() -> str:
    """Location of the main thread: the innermost line of this package or of another program, not of a library."""
    frame = sys._current_frames().get(threading.main_thread().ident)
    while frame is not None:
        name = frame.f_code.co_filename
        if name not in _COLLECTIVE_FILES and (name.startswith(str(_PACKAGE)) or not _is_library(name)):
            break
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    path = Path(name)
    return f"{path.relative_to(_PACKAGE.parent) if path.is_relative_to(_PACKAGE) else path.name}:{frame.f_lineno}"


def _is_library(name: str) -> bool:
    return name.startswith((_STANDARD_LIBRARY, "<")) or "site-packages" in name


def exceeds(seconds: float, limit: float) -> bool:
    """Whether a time exceeds a limit; a limit of 0 is none."""
    return 0 < limit < seconds
