"""What ranks tell each other about themselves, and who is lost by that."""

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
#: Every rank comes by here in every collective: the caller tells more.
_PASSAGES = {str(_PACKAGE / name) for name in ("distributed/world.py", "distributed/collectives.py")}
#: How a rank leaves that has finished.
DONE = "it had finished"
_STANDARD_LIBRARY = str(Path(os.__file__).parent)


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """Patience with other ranks, in seconds; 0 for ever.

    Attributes:
        lost: A rank that is not heard of for so long is lost.
        stall: A rank that keeps another one waiting in a collective for so long stalls.
    """

    lost: float = 60
    stall: float = 600

    @classmethod
    def from_environment(cls) -> Timeouts:
        """``GNNREC_LOST_SECONDS`` and ``GNNREC_STALL_SECONDS``.

        Raises:
            UserError: One of them is no number of seconds.
        """
        usual = cls()
        return cls(**{name: _seconds(name, value) for name, value in dataclasses.asdict(usual).items()})


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
    """What one rank says of itself.

    Attributes:
        host: Name of its machine.
        pid: Its process.
        beat: Counts how often it spoke.
        entered: Collectives entered.
        waiting: Seconds that it has been waiting in one; 0 outside.
        doing: What it does, and where.
        left: Empty while it is there, else how it went: :data:`DONE`, or the error.
        diagnosis: Whom it has found lost; empty for nobody.
    """

    host: str
    pid: int
    beat: int = 0
    entered: int = 0
    waiting: float = 0.0
    doing: str = "starting"
    left: str = ""
    diagnosis: str = ""

    def text(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_this_process(cls) -> RankStatus:
        return cls(socket.gethostname(), os.getpid())

    @classmethod
    def parse(cls, text: str | bytes) -> RankStatus:
        return cls(**json.loads(text))


def diagnose(rank: int, words: list[RankStatus], silence: list[float], patience: float, limits: Timeouts) -> str | None:
    """Whom this rank no longer waits for.

    Args:
        rank: This rank.
        words: The last words of every rank.
        silence: Seconds since they changed.
        patience: Seconds that this rank has been waiting in a collective.
        limits: When that is too long.

    Returns:
        A sentence that names ranks, or None.
    """
    for each in words:
        if each.diagnosis:
            return each.diagnosis
    others, mine = [each for each in range(len(words)) if each != rank], words[rank].entered
    silent = [each for each in others if not words[each].left and over(silence[each], limits.lost)]
    if silent:
        return not_heard_of(silent, words, silence)
    behind = [each for each in others if words[each].entered < mine]
    left = [each for each in behind if words[each].left]
    if left and over(patience, limits.lost):
        return gone(left, words)
    if behind and over(patience, limits.stall):
        fewest = min(words[each].entered for each in behind)
        late = [each for each in behind if words[each].entered == fewest]
        told = named(late, lambda each: f"{who(each, words)}, {words[each].doing},")
        waits = f"the others waiting for {patience:.0f} s ({words[rank].doing})"
        return f"{told} {'keep' if len(late) > 1 else 'keeps'} {waits}; GNNREC_STALL_SECONDS is the limit"
    if all(each.waiting and over(each.waiting, limits.stall) for each in words):
        told = named(range(len(words)), lambda each: f"{who(each, words)}, {words[each].doing};")
        return f"{told} all ranks wait for each other, so the network or the program is at fault"
    return None


def not_heard_of(ranks: list[int], words: list[RankStatus], silence: list[float]) -> str:
    """A sentence about ranks that fell silent."""
    told = named(ranks, lambda each: f"{who(each, words)}, last {words[each].doing},")
    seconds = max(silence[each] for each in ranks)
    return f"{told} {'have' if len(ranks) > 1 else 'has'} not been heard of for {seconds:.0f} s"


def gone(ranks: list[int], words: list[RankStatus]) -> str:
    """A sentence about ranks that left by themselves."""
    return named(ranks, lambda each: f"{who(each, words)} has left ({words[each].left})")


def who(rank: int, words: list[RankStatus]) -> str:
    return f"rank {rank} (host {words[rank].host}, pid {words[rank].pid})"


def named(ranks: Sequence[int], tell: Callable[[int], str], most: int = 4) -> str:
    """What there is to tell of some ranks, and how many more there are."""
    ranks = list(ranks)
    more = f" and {len(ranks) - most} more" if len(ranks) > most else ""
    return " ".join(map(tell, ranks[:most])) + more


def whereabouts() -> str:
    """Where the main thread is: the innermost line of this package or of another program, not of a library."""
    frame = sys._current_frames().get(threading.main_thread().ident)
    while frame is not None:
        name = frame.f_code.co_filename
        if name not in _PASSAGES and (name.startswith(str(_PACKAGE)) or not _is_library(name)):
            break
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    path = Path(name)
    return f"{path.relative_to(_PACKAGE.parent) if path.is_relative_to(_PACKAGE) else path.name}:{frame.f_lineno}"


def _is_library(name: str) -> bool:
    return name.startswith((_STANDARD_LIBRARY, "<")) or "site-packages" in name


def over(seconds: float, limit: float) -> bool:
    """Whether a limit is passed; 0 is none."""
    return 0 < limit < seconds
