"""Records of a run directory, without the model: configuration, metrics, summary."""

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
from gnnrec.evaluation.metrics import WITHOUT_TIME
from gnnrec.utils.stored import irregularity, read_json, read_text


@dataclasses.dataclass
class RunRecords:
    """Records of a run.

    Attributes:
        directory: The run directory.
        name: Name on the page.
        config: The resolved configuration.
        metrics: Records of ``metrics.jsonl``, in order.
        summary: Content of ``summary.json``; empty if the run has not ended.
        stopped: Reason why the run was stopped before its end, or None.
    """

    directory: Path
    name: str
    config: TrainConfig
    metrics: list[dict]
    summary: dict
    stopped: str | None

    @property
    def ended(self) -> bool:
        """Whether the run has a summary."""
        return bool(self.summary)

    @property
    def last_step(self) -> int:
        """The last recorded step; 0 without records."""
        return self.metrics[-1]["step"] if self.metrics else 0

    @property
    def ranking(self) -> bool:
        """Whether the model ranks movies; otherwise it predicts ratings."""
        return self.config.objective == "ranking"

    @cached_property
    def timed(self) -> bool:
        """Whether errors differ with and without the times of ratings."""
        pairs = [(f"{split}_rmse", f"{split}_rmse{WITHOUT_TIME}") for split in ("test", "validation")]
        return any(row.get(a) != row.get(b) for row in (self.summary, *self.metrics) for a, b in pairs if b in row)

    @cached_property
    def began(self) -> str | None:
        """Time of the first record in UTC; None without records."""
        return _clock(self.metrics[0]["time"]) if self.metrics else None

    @property
    def options(self) -> dict[str, str]:
        """Dotted name of each option -> value as text."""
        return {name: str(value) for name, value in flat(self.config.as_dict()).items()}

    def series(self, name: str) -> pd.DataFrame:
        """Returns the columns ``step`` and ``value`` of a field, where it is a finite number."""
        rows = [(row["step"], row[name]) for row in self.metrics if _finite(row.get(name))]
        return pd.DataFrame(rows, columns=["step", "value"])

    def names(self, ending: str) -> list[str]:
        """Returns the fields of the records with this suffix, in order."""
        return [name for name in dict.fromkeys(key for row in self.metrics for key in row) if name.endswith(ending)]


def read_run(directory: Path, name: str | None = None) -> RunRecords:
    """Reads the records of a run that has ended, was stopped or is still running.

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
    """Returns unique names of runs: the directory name with as many parents as needed."""
    paths = [run.resolve() for run in runs]
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise UserError(f"{runs[0]} is passed twice: compare different runs")


def _read_json(path: Path) -> dict:
    return {} if irregularity(path) == "is missing" else read_json(path, "finish the run again with --resume auto")


def _read_lines(path: Path) -> list[dict]:
    """Reads complete lines; a run that is still running may be writing one."""
    if irregularity(path) == "is missing":
        return []
    rows = []
    for line in read_text(path, "move it away, then resume with --resume auto").splitlines():
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
