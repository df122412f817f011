"""``gnnrec.train``, and what it returns."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from gnnrec.api.session import given, session
from gnnrec.config.serialize import words_of
from gnnrec.config.train_config import TrainConfig, parse_train_config, read_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory, made here or by ``train_dist.py``.

    Attributes:
        directory: The run directory.
    """

    directory: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", Path(self.directory))

    @property
    def config(self) -> TrainConfig:
        """Every option, as resolved."""
        return read_train_config(self.directory / "config.yaml")

    @property
    def summary(self) -> dict[str, Any]:
        """Scores of the best checkpoint, the baselines on the same split, counts: ``summary.json``."""
        return json.loads(self._read("summary.json"))

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each record: ``step``, ``time`` (seconds since 1970), and what was recorded there, else NaN."""
        return pd.DataFrame([json.loads(line) for line in self._read("metrics.jsonl").splitlines()])

    def _read(self, name: str) -> str:
        path = self.directory / name
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(
                f"{path} is missing: it is written by gnnrec.train, and by train_dist.py, at the end of a run"
            ) from None


def train(
    data: PreparedDataset | Path | str,
    run_dir: Path | str,
    *,
    config: Path | str | None = None,
    **options: Any,
) -> Run:
    """Trains a model in this process, as ``train_dist.py`` does; Weights & Biases is off unless asked for.

    Ctrl-C saves the run and is then a KeyboardInterrupt; the same call with ``resume="auto"`` goes on.

    Args:
        data: What :func:`gnnrec.prepare` returned, or its directory.
        run_dir: The run directory to make.
        config: A YAML file of options, such as ``configs/quickstart.yaml``.
        **options: Options over those of the file; sections are dictionaries: ``model={"architecture": "gat"}``,
            ``optimizer={"epochs": 10}``, ``objective="ranking"``, ``overwrite=True``.

    Returns:
        The run.

    Raises:
        UserError: Bad input, or an option that there is not.
        Stopped: After ``max_minutes``; the run is saved.
    """
    from gnnrec.training.run import train as fit

    directory = data.directory if isinstance(data, PreparedDataset) else data
    words = ["--wandb.mode=disabled", *words_of(given({"config": config}))]
    words += words_of(options | {"data": str(directory), "run_dir": str(run_dir)})
    parsed = parse_train_config(words)
    with session(parsed.device) as world:
        fit(parsed, world)
    return Run(parsed.run_dir)
