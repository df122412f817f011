"""The directory of generations: one complete model after another, of which one file names the newest.

``000000``, ``000001`` and so on have ``run``, ``export`` and, from the second on, ``delta``, and ``generation.json``,
which is written when they are complete. ``current.json`` names the newest complete generation that was not held back;
it is replaced atomically, so readers find a complete generation at every moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.stored import irregularity, read_json

CURRENT, _COMPLETE, _BEGUN, _LOCK = "current.json", "generation.json", "update.json", ".lock"
_ADVICE = "restore it, or begin with another --out"


@dataclasses.dataclass(frozen=True)
class Generation:
    """One generation.

    Attributes:
        path: Its directory.
        run: Its run directory, in ``path`` but for that of generation 0.
        number: 0 for the run that the first update began with.
        facts: Contents of ``generation.json``; empty while it is being made.
    """

    path: Path
    run: Path
    number: int
    facts: dict[str, Any]

    @property
    def export(self) -> Path:
        """Its export."""
        return self.path / "export"

    @property
    def delta(self) -> Path:
        """The rows of its export that the generation before does not have."""
        return self.path / "delta"

    def begun(self) -> dict[str, Any]:
        """Notes of an update that was interrupted; empty for none."""
        path = self.path / _BEGUN
        return {} if irregularity(path) == "is missing" else read_json(path, f"remove {self.path}")

    def note(self, **facts: Any) -> dict[str, Any]:
        """Adds to what the update notes."""
        self.path.mkdir(parents=True, exist_ok=True)
        noted = self.begun() | facts
        files.write_text(self.path / _BEGUN, json.dumps(noted, indent=1) + "\n")
        return noted

    def complete(self, facts: dict[str, Any]) -> Generation:
        """Writes ``generation.json``."""
        facts = facts | {"number": self.number, "run": str(self.run.resolve())}
        files.write_text(self.path / _COMPLETE, json.dumps(facts, indent=1) + "\n")
        return dataclasses.replace(self, facts=facts)


class Generations:
    """The directory.

    Args:
        path: The directory; it may be missing.
    """

    def __init__(self, path: Path):
        self.path = Path(path)

    @property
    def exists(self) -> bool:
        """Whether it has a generation."""
        return irregularity(self.path / CURRENT) != "is missing"

    def current(self) -> Generation:
        """The newest generation that was published.

        Raises:
            UserError: There is none, or it is damaged.
        """
        if not self.exists:
            raise UserError(f"{self.path} has no {CURRENT}: pass a run directory and --out to begin")
        return self._complete(read_json(self.path / CURRENT, _ADVICE).get("generation", ""))

    def begin(self, run: Path) -> Generation:
        """The generation 0, which is a run that was trained before."""
        return Generation(self.path / _name(0), Path(run).resolve(), 0, {})

    def next(self) -> Generation:
        """The generation after all complete ones, which an interrupted update may have begun."""
        complete = [path for path in self.path.glob("[0-9]*") if (path / _COMPLETE).exists()]
        number = 1 + max((int(path.name) for path in complete), default=-1)
        path = self.path / _name(number)
        return Generation(path, path / "run", number, {})

    def publish(self, generation: Generation) -> None:
        """Makes a complete generation the current one."""
        names = {"generation": generation.path.name, "export": f"{generation.path.name}/export"}
        files.write_text(self.path / CURRENT, json.dumps(names) + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other updates out.

        Raises:
            UserError: Another update is under way, or the directory cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = files.lock_file(self.path / _LOCK)
        except OSError as error:
            raise UserError(f"{self.path}: cannot write there ({error.strerror}): choose another --out") from None
        if lock is None:
            raise UserError(f"{self.path} is being updated by another process: try again when it has ended")
        with lock:
            yield

    def _complete(self, name: str) -> Generation:
        path = self.path / name
        facts = read_json(path / _COMPLETE, _ADVICE)
        try:
            number = int(facts["number"])
            # The run of an update is in its directory, wherever that has been moved to.
            return Generation(path, path / "run" if number else Path(facts["run"]), number, facts)
        except (KeyError, ValueError) as error:
            raise UserError(f"{path / _COMPLETE} is damaged ({error!r}): {_ADVICE}") from None


def _name(number: int) -> str:
    return f"{number:06d}"
