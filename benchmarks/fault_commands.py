"""The commands that faults are injected into, what they read, and how their results are compared."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.fault_programs import Outcome

#: Parts of lines that differ from one call to the next: times, rates and memory.
_CLOCK = re.compile(r"[\d.,]+ (s|edges/s|ms/step|GiB|us)\b|\d+:\d\d:\d\d left|/\S*/")


@dataclasses.dataclass(frozen=True)
class FaultCommand:
    """A command.

    Attributes:
        words: Its words, from the directory of the copies.
        reads: Copies that it reads: ``ratings``, ``data``, ``run``, ``export``.
        result: What it has computed, from its outcome and the directory; equal for equal results.
        verifies: It checks files, so it must not call a damaged one sound.
        continues: It continues what is there, so its inputs change when it succeeds.
        writes: What it makes in the directory of the copies, if anything.
        resumes: An interrupted one leaves parts, from which it is resumed.
    """

    words: Callable[[Path], list[str]]
    reads: tuple[str, ...]
    result: Callable[[Outcome, Path], object]
    verifies: bool = False
    continues: bool = False
    writes: str | None = None
    resumes: bool = False


def _gnnrec(*words: object) -> list[str]:
    return ["gnnrec", *map(str, words)]


def training(place: Path, *more: object) -> list[str]:
    """The words of a short training run."""
    options = {
        "data": place / "data", "run-dir": place / "run", "device": "cpu", "wandb.mode": "disabled", "model.dim": 8,
        "loader.folds": 3, "optimizer.epochs": 8, "optimizer.warmup-steps": 2, "log-every": 1,
        "checkpoint.every-steps": 4, "checkpoint.keep": 3, "baselines": "false", "resume": "auto",
    }  # fmt: skip
    return [
        "train_dist.py",
        *(str(word) for name, value in options.items() for word in (f"--{name}", value)),
        *map(str, more),
    ]


def summary(outcome: Outcome, place: Path) -> object:
    """Test RMSE and steps of the run."""
    found = json.loads((place / "run" / "summary.json").read_text())
    return round(found["test_rmse"], 2), found["steps"]


def _printed(outcome: Outcome, place: Path) -> object:
    return _CLOCK.sub("", outcome.result)


def _files(name: str) -> Callable[[Outcome, Path], object]:
    def digests(outcome: Outcome, place: Path) -> object:
        paths = [path for path in sorted((place / name).rglob("*")) if path.suffix in (".parquet", ".npy", ".csv")]
        assert paths
        return [(str(path.relative_to(place)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]

    return digests


def _page(outcome: Outcome, place: Path) -> object:
    return (place / "page" / "report.html").exists()


def _table(outcome: Outcome, place: Path) -> object:
    rows = json.loads((place / "compared" / "comparison.json").read_text())
    return [(row["model"], row["metrics"]) for row in rows]


COMMANDS: dict[str, FaultCommand] = {
    "prepare": FaultCommand(
        lambda place: _gnnrec("prepare", place / "prepared", "--ratings", place / "ratings"),
        ("ratings",), _files("prepared"), writes="prepared",
    ),
    "prepare --verify": FaultCommand(
        lambda place: _gnnrec("prepare", "--verify", place / "data"), ("data",), _printed, verifies=True
    ),
    "plan": FaultCommand(lambda place: _gnnrec("plan", "--data", place / "data"), ("data",), _printed),
    "train": FaultCommand(training, ("data",), summary, writes="run", resumes=True),
    "train --resume": FaultCommand(training, ("data", "stopped"), summary, continues=True),
    "tune": FaultCommand(
        lambda place: _gnnrec(
            "tune", place / "data", "--out", place / "study", "--trials", 1, "--device", "cpu",
            "--wandb.mode", "disabled", "--set", "optimizer.epochs=2", "--set", "loader.folds=3",
        ),
        ("data",), lambda outcome, place: (place / "study" / "best.yaml").exists(), writes="study", resumes=True,
    ),
    "compare": FaultCommand(
        lambda place: _gnnrec(
            "compare", place / "data", "--out", place / "compared", "--models", "biases", "--seeds", 1, "--resume",
        ),
        ("data",), _table, writes="compared", resumes=True,
    ),
    "evaluate": FaultCommand(
        lambda place: _gnnrec("evaluate", place / "run", "--data", place / "data", "--device", "cpu"),
        ("data", "run"), _printed,
    ),
    "export": FaultCommand(
        lambda place: _gnnrec(
            "export", place / "run", "--data", place / "data", "--out", place / "vectors", "--device", "cpu"
        ),
        ("data", "run"), _files("vectors"), writes="vectors", resumes=True,
    ),
    "export --verify": FaultCommand(
        lambda place: _gnnrec("export", "--verify", place / "export", "--data", place / "data"), ("export",), _printed,
        verifies=True,
    ),
    "recommend": FaultCommand(
        lambda place: _gnnrec(
            "recommend", place / "run", "--user", "7", "--data", place / "data", "--device", "cpu"
        ),
        ("data", "run"), _printed,
    ),
    "recommend from an export": FaultCommand(
        lambda place: _gnnrec("recommend", place / "export", "--user", "7", "--data", place / "data"),
        ("export",), _printed,
    ),
    "predict": FaultCommand(
        lambda place: _gnnrec(
            "predict", place / "run", "--pairs", place / "pairs.csv", "--out", place / "predicted" / "pairs.csv",
            "--data", place / "data", "--device", "cpu",
        ),
        ("data", "run"), _files("predicted"), writes="predicted",
    ),
    "report": FaultCommand(
        lambda place: _gnnrec(
            "report", place / "run", "--out", place / "page", "--data", place / "data", "--device", "cpu"
        ),
        ("data", "run"), _page, writes="page",
    ),
}  # fmt: skip
