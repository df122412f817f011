"""One fault at a time: undisturbed inputs, what is done to a copy of them, and what has become of the command."""

from __future__ import annotations

import dataclasses
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.fault_commands import COMMANDS, FaultCommand, training
from benchmarks.fault_kinds import CONTENT, PLACE, ReadOnlyDisk, SmallDisk, SmallMemory, contents, copy
from benchmarks.fault_programs import Outcome, Signals, run_program

#: Files whose contents have no checksum: other ones are other input. They are put out of the way, not changed.
_UNCHECKED = ("ratings", "metrics.jsonl", "summary.json", "started.json")
#: Files that say which job a run belongs to, and how it ended: every job that begins renews them.
_OF_THE_JOB = ("run/started.json", "run/stopped.json", "log")


@dataclasses.dataclass
class Fault:
    """One fault and what became of it.

    Attributes:
        kind: Kind of the fault.
        command: The command.
        detail: What exactly was done.
        code: Exit code of the command.
        wrong: ``lost``, ``traceback``, ``hang``, ``silent_wrong`` -> what was seen; empty if all went well.
    """

    kind: str
    command: str
    detail: str
    code: int
    wrong: dict[str, str] = dataclasses.field(default_factory=dict)


class Campaign:
    """Undisturbed inputs and results, and the faults so far.

    Args:
        root: Directory for everything.
        commands: Commands that faults are injected into.
    """

    def __init__(self, root: Path, commands: Iterable[str] = tuple(COMMANDS)):
        self.root, self.base = root, root / "base"
        self.results: dict[str, object] = {}
        self.seconds: dict[str, float] = {}
        write_ratings(self.base / "ratings")
        must(["gnnrec", "prepare", f"{self.base}/data", "--ratings", f"{self.base}/ratings", "--shards", "4"], root)
        must(training(self.base), root)
        must(["gnnrec", "export", f"{self.base}/run", "--out", f"{self.base}/export", "--device", "cpu"], root)
        self._make_stopped()
        for name in commands:
            command = COMMANDS[name]
            place = self.place(f"undisturbed {name}", command)
            outcome = run_program(command.words(place), place / "log")
            if outcome.code:
                raise SystemExit(f"{name}: {outcome.output}")
            self.results[name], self.seconds[name] = command.result(outcome, place), outcome.seconds

    def _make_stopped(self) -> None:
        """A run that was stopped in its middle, with several checkpoints."""
        place = self.root / "stopping"
        copy(self.base / "data", place / "data")

        def steps() -> list[Path]:
            return sorted((place / "run" / "checkpoints").glob("step-*"))

        for _ in range(20):
            shutil.rmtree(place / "run", ignore_errors=True)
            run_program(training(place), place / "log", signals=((lambda: len(steps()) >= 3, signal.SIGTERM),))
            if len(steps()) >= 3 and not (place / "run" / "summary.json").exists():
                copy(place / "run", self.base / "stopped")
                return
        raise SystemExit("no run could be stopped in its middle")

    def place(self, name: str, command: FaultCommand) -> Path:
        """A directory with copies of what a command reads."""
        place = self.root / name.replace(" ", "-").replace("/", "-")
        place.mkdir(parents=True, exist_ok=True)
        for source in {*command.reads, *(("data",) if "export" in command.reads else ())}:
            copy(self.base / source, place / ("run" if source == "stopped" else source))
        shutil.copy(self.base / "pairs.csv", place)
        return place

    def judge(
        self, fault: Fault, command: FaultCommand, outcome: Outcome, place: Path, before: dict[str, bytes]
    ) -> None:
        """Notes what is wrong with an outcome."""
        fault.code = outcome.code
        if outcome.hang:
            fault.wrong["hang"] = outcome.output[-300:]
        if outcome.traceback:
            fault.wrong["traceback"] = outcome.output[-600:]
        if outcome.code or not command.continues:
            after = contents(place)
            gone = [name for name in before if after.get(name) != before[name] and name not in _OF_THE_JOB]
            if gone:
                fault.wrong["lost"] = ", ".join(gone[:3])

    def compare(self, fault: Fault, name: str, outcome: Outcome, place: Path) -> None:
        """Notes a result that is another one than that of the undisturbed command."""
        try:
            found = COMMANDS[name].result(outcome, place)
        except (OSError, ValueError, KeyError, AssertionError) as error:
            found = repr(error)
        if found != self.results[name]:
            fault.wrong["silent_wrong"] = f"{str(found)[:200]} instead of {str(self.results[name])[:200]}"

    def damage(self, name: str, kind: str, seed: int) -> Fault | None:
        """Damages a file that a command reads."""
        command, chance = COMMANDS[name], random.Random(f"{name} {kind} {seed}")
        place = self.place(f"damage {name} {kind} {seed}", command)
        reads = ["run" if source == "stopped" else source for source in command.reads]
        files = [path for source in reads for path in sorted((place / source).rglob("*")) if path.is_file()]
        if kind in CONTENT:
            files = [path for path in files if not set(path.relative_to(place).parts) & {*_UNCHECKED}]
            if kind in ("a flipped bit", "zeros"):
                files = [path for path in files if path.name not in ("manifest.json", "config.yaml")]
            if name == "recommend from an export":
                files = []
        if kind == "removed":  # without a movies file, ratings are other input
            files = [path for path in files if path.name != "movies.csv"]
        files = [path for path in files if path.stat().st_size]
        if not files:
            return None
        path = chance.choice(files)
        (CONTENT | PLACE)[kind](path, chance)
        before = contents(place)
        outcome = run_program(command.words(place), place / "log")
        fault = Fault(kind, name, str(path.relative_to(place)), 0)
        self.judge(fault, command, outcome, place, before)
        if outcome.code == 0 and command.verifies:
            fault.wrong["silent_wrong"] = "called sound"
        elif outcome.code == 0:
            self.compare(fault, name, outcome, place)
        elif outcome.code == 2 and "error: " not in outcome.output:
            fault.wrong["traceback"] = f"no line: {outcome.output[-300:]}"
        return fault

    def disturb(self, name: str, kind: str, seed: int) -> Fault:
        """Disturbs a command once, and calls it again."""
        command, chance = COMMANDS[name], random.Random(f"{name} {kind} {seed}")
        place = self.place(f"disturb {name} {kind} {seed}", command)
        before = contents(place)
        prepare: Callable[[], None] | None = None
        signals: Signals = ()
        if kind == "a full disk":
            size = chance.randrange(1 << 12, 1 << 16)
            prepare, detail = SmallDisk(size), f"no file above {size} bytes"
        elif kind == "a read-only disk":
            after = chance.choice((0.0, chance.uniform(0.02, 1.0))) * self.seconds[name]
            prepare, detail = ReadOnlyDisk(place, after), f"after {after:.2f} s"
        elif kind == "little memory":
            size = chance.randrange(1 << 20, 1 << 27)
            prepare, detail = SmallMemory(size), f"{size} bytes beyond the libraries"
        else:
            after = chance.uniform(0.02, 1.0) * self.seconds[name]
            signals, detail = ((after, getattr(signal, kind)),), f"after {after:.2f} s"
        outcome = run_program(command.words(place), place / "log", prepare, signals)
        fault = Fault(kind, name, detail, 0)
        kept = {path: data for path, data in before.items() if not (command.continues and path.startswith("run/"))}
        self.judge(fault, command, outcome, place, kept)
        if outcome.code == 0:
            self.compare(fault, name, outcome, place)
            return fault
        if (
            command.writes
            and command.writes not in ("run", "study", "vectors", "compared")
            and (place / command.writes).exists()
        ):
            if any(path.is_file() for path in (place / command.writes).rglob("*")):
                fault.wrong["lost"] = f"half of {command.writes} is left"
        again = run_program(command.words(place), place / "log-again")
        if again.code:
            fault.wrong["lost"] = f"it does not go on: {again.output[-300:]}"
        else:
            self.compare(fault, name, again, place)
        return fault

    def twice(self, name: str, seed: int) -> Fault:
        """Starts two jobs on one output."""
        command, chance = COMMANDS[name], random.Random(f"{name} twice {seed}")
        place, pause = self.place(f"twice {name} {seed}", command), chance.uniform(0, 1)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(run_program, command.words(place), place / "log")
            time.sleep(pause)
            second = pool.submit(run_program, command.words(place), place / "log-second")
            outcomes = [first.result(), second.result()]
        fault = Fault("two jobs", name, f"{pause:.2f} s apart", max(outcome.code for outcome in outcomes))
        for outcome in outcomes:
            if outcome.hang:
                fault.wrong["hang"] = outcome.output[-300:]
            if outcome.traceback:
                fault.wrong["traceback"] = outcome.output[-600:]
        done = next((outcome for outcome in outcomes if outcome.code == 0), None)
        if done is None:
            done = run_program(command.words(place), place / "log-again")
            if done.code:
                fault.wrong["lost"] = f"neither has finished: {outcomes[0].output[-200:]} {outcomes[1].output[-200:]}"
                return fault
        self.compare(fault, name, done, place)
        return fault


def write_ratings(place: Path) -> None:
    """Writes a small ratings file with titles, and pairs to predict."""
    place.mkdir(parents=True)
    chance = np.random.default_rng(0)
    pairs = np.sort(chance.choice(80 * 50, 1600, replace=False))
    user, movie = pairs // 50, pairs % 50
    taste = chance.normal(0, 0.6, 80)[user] + chance.normal(0, 0.6, 50)[movie]
    rating = np.clip(np.round(2 * (3.5 + taste + chance.normal(0, 0.4, len(pairs)))) / 2, 0.5, 5)
    time_ = chance.integers(1_000_000_000, 1_400_000_000, len(pairs))
    rows = [f"{u * 3 + 7},{m * 5 + 2},{r},{t}" for u, m, r, t in zip(user, movie, rating, time_)]
    (place / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]) + "\n")
    titles = [f"{m * 5 + 2},Film {m} ({1980 + m % 40}),Drama|Comedy" for m in range(50)]
    (place / "movies.csv").write_text("\n".join(["movieId,title,genres", *titles]) + "\n")
    (place.parent / "pairs.csv").write_text(
        "user,movie\n" + "\n".join(f"{u * 3 + 7},{u % 50 * 5 + 2}" for u in range(80))
    )


def must(words: list[str], root: Path) -> None:
    """Runs a command that has to succeed."""
    outcome = run_program(words, root / "log")
    if outcome.code:
        raise SystemExit(f"{' '.join(words)}: {outcome.output}")
