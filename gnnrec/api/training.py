"""``gnnrec.train`` and the run that it returns."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from gnnrec.api.python_names import python_errors
from gnnrec.api.session import drop_none, session
from gnnrec.config.serialize import words_of
from gnnrec.config.train_config import TrainConfig, parse_train_config, read_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.utils.stored import read_text


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory, of :func:`train` or of ``train_dist.py``.

    Attributes:
        directory: The run directory.
    """

    directory: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", Path(self.directory))

    @property
    @python_errors()
    def config(self) -> TrainConfig:
        """All options with their resolved values."""
        return read_train_config(self.directory / "config.yaml")

    @property
    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json``: metrics of the best checkpoint and of the baselines, counts, times."""
        return json.loads(self._read("summary.json"))

    @property
    def metrics(self) -> pd.DataFrame:
        """Records of ``metrics.jsonl``: ``step``, ``time`` (seconds since 1970), and metrics, NaN if not recorded."""
        return pd.DataFrame([json.loads(line) for line in self._read("metrics.jsonl").splitlines()])

    def _read(self, name: str) -> str:
        return read_text(
            self.directory / name, "it is written at the end of training, by gnnrec.train or train_dist.py"
        )


def run_directory(run: Run | Path | str) -> Path:
    """Returns the path of a run."""
    return run.directory if isinstance(run, Run) else Path(run)


@python_errors()
def train(
    data: PreparedDataset | Path | str,
    run_dir: Path | str,
    *,
    config: Path | str | None = None,
    **options: Any,
) -> Run:
    """Trains a model in this process, like ``train_dist.py``; Weights & Biases is off by default.

    Ctrl-C saves the run and raises KeyboardInterrupt; the same call with ``resume="auto"`` resumes it.

    Args:
        data: A prepared dataset or its directory.
        run_dir: Run directory to create.
        config: A YAML file of options, such as ``configs/custom.yaml``.
        **options: Options that override those of the file; sections are dictionaries:
            ``model={"architecture": "gat"}``, ``optimizer={"epochs": 10}``, ``overwrite=True``.

    Returns:
        The run.

    Raises:
        UserError: Bad input, or an unknown option.
        Stopped: After ``max_minutes``; the run is saved.
    """
    from gnnrec.training.run import train as fit

    directory = data.directory if isinstance(data, PreparedDataset) else data
    words = ["--wandb.mode=disabled", *words_of(drop_none({"config": config}))]
    words += words_of(options | {"data": str(directory), "run_dir": str(run_dir)})
    parsed = parse_train_config(words)
    with session(parsed.device) as world:
        fit(parsed, world)
    return Run(parsed.run_dir)
