"""What a run directory says without its model: configuration, records, summary."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

import pandas as pd

from gnnrec.config.serialize import flat
from gnnrec.config.train_config import TrainConfig, read_train_config
from gnnrec.errors import UserError


@dataclasses.dataclass
class RunRecords:
    """A run's own records.

    Attributes:
        directory: The run directory.
        name: What the page calls it.
        config: The resolved configuration.
        metrics: The records of ``metrics.jsonl``, in their order.
        summary: ``summary.json``; empty where the run has not ended.
        stopped: What was said when it was stopped before its end; None where it was not.
    """

    directory: Path
    name: str
    config: TrainConfig
    metrics: list[dict]
    summary: dict
    stopped: str | None

    @property
    def ended(self) -> bool:
        """Whether there is a summary."""
        return bool(self.summary)

    @property
    def last_step(self) -> int:
        """Number of the last step that was recorded; 0 without any."""
        return self.metrics[-1]["step"] if self.metrics else 0

    @property
    def ranking(self) -> bool:
        """Whether movies are ranked, or else ratings predicted."""
        return self.config.objective == "ranking"

    @cached_property
    def began(self) -> str | None:
        """Time of the first record, UTC; None without records."""
        return _clock(self.metrics[0]["time"]) if self.metrics else None

    @property
    def options(self) -> dict[str, str]:
        """Dotted option name -> value as text."""
        return {name: str(value) for name, value in flat(self.config.as_dict()).items()}

    def series(self, name: str) -> pd.DataFrame:
        """Columns ``step``, ``value``: one field of the records, where it is a finite number."""
        rows = [(row["step"], row[name]) for row in self.metrics if _finite(row.get(name))]
        return pd.DataFrame(rows, columns=["step", "value"])

    def names(self, ending: str) -> list[str]:
        """Fields of the records that end so, in the order in which they come."""
        return [name for name in dict.fromkeys(key for row in self.metrics for key in row) if name.endswith(ending)]


def read_run(directory: Path, name: str | None = None) -> RunRecords:
    """Reads the records of a run that ended, was stopped or is still at work.

    Raises:
        UserError: Not a run directory, or damaged.
    """
    directory = Path(directory)
    config = read_train_config(directory / "config.yaml")
    stopped = _read_json(directory / "stopped.json").get("stopped")
    return RunRecords(
        directory,
        name or directory.resolve().name,
        config,
        _read_lines(directory / "metrics.jsonl"),
        _read_json(directory / "summary.json"),
        stopped,
    )


def distinct_names(runs: list[Path]) -> list[str]:
    """A name for each run: its directory, with as many parents as tell all of them apart."""
    paths = [run.resolve() for run in runs]
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise UserError(f"{runs[0]} is named twice: compare different runs")


def _read_json(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise UserError(f"{path} is damaged: finish the run again with --resume auto") from None


def _read_lines(path: Path) -> list[dict]:
    """Whole lines: a run that is still at work may be in the middle of one."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "step" in row and "time" in row:
            rows.append(row)
    return rows


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
