"""Logs the metrics of a run to ``metrics.jsonl``, Weights & Biases, MLflow and TensorBoard, all from rank 0."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.config.training_options import MlflowOptions, WandbOptions
from gnnrec.errors import STOPPED_EXIT_CODE, RanksLost, Stopped
from gnnrec.training.finite import NotFinite
from gnnrec.training.tracking.metrics_file import MetricsFile
from gnnrec.training.tracking.mlflow_run import PATIENCE, MlflowRun
from gnnrec.training.tracking.tensorboard_files import TensorBoardFiles
from gnnrec.training.tracking.wandb_run import WandbRun
from gnnrec.utils import strict_json

if TYPE_CHECKING:
    from wandb import Artifact

#: Seconds that a process which has lost its ranks waits for MLflow.
_LAST_SECONDS = 5.0


class Tracker:
    """Logs the metrics of a run. On ranks other than 0 it does nothing.

    Failures of W&B, MLflow and TensorBoard become warnings and never end the run.

    Args:
        run: The run directory.
        options: Options of W&B.
        config: The resolved configuration, and further facts about the run.
        active: True on rank 0.
        recorded_bytes: Bytes of ``metrics.jsonl`` to keep; later ones are dropped.
        unrecorded: Lines after these bytes that could not be written before.
        wandb_run: Id of the W&B run to resume; None starts one.
        tensorboard: Write files for TensorBoard too.
        mlflow: Options of MLflow; None for no MLflow.
    """

    def __init__(
        self,
        run: Path,
        options: WandbOptions,
        config: dict,
        active: bool,
        recorded_bytes: int = 0,
        unrecorded: str = "",
        wandb_run: str | None = None,
        tensorboard: bool = False,
        mlflow: MlflowOptions | None = None,
    ):
        self.active, self.run = active, run
        self._file = self._wandb = self._tensorboard = self._mlflow = None
        if active:
            self._file = MetricsFile(run / "metrics.jsonl", recorded_bytes, unrecorded)
            if options.mode != "disabled":
                dropped = [json.loads(line) for line in self._file.dropped]
                self._wandb = WandbRun(run, options, config, wandb_run, sent=dropped)
            if mlflow is not None and mlflow.uri:
                self._mlflow = MlflowRun(run, mlflow, config, map(json.loads, self._file.lines()))
            if tensorboard:
                self._tensorboard = TensorBoardFiles(run / "tensorboard", map(json.loads, self._file.lines()))

    @property
    def recorded_bytes(self) -> int:
        """Length of ``metrics.jsonl``."""
        return self._file.size if self._file is not None else 0

    @property
    def unrecorded(self) -> str:
        """Lines that could not be written to ``metrics.jsonl`` yet."""
        return self._file.waiting if self._file is not None else ""

    def sync(self) -> None:
        """Waits until ``metrics.jsonl`` is on the disk."""
        if self._file is not None:
            self._file.sync()

    @property
    def wandb_run(self) -> str | None:
        """Id of the W&B run; None without one."""
        return self._wandb.id if self._wandb is not None else None

    def log(self, step: int, **values: Any) -> None:
        """Logs numbers of one optimizer step; steps must not decrease."""
        if not self.active:
            return
        record = {"step": step, "time": round(time.time(), 3), **values}
        self._file.write(strict_json.dumps(record))
        if self._wandb is not None:
            self._wandb.log(record)
        if self._mlflow is not None:
            self._mlflow.log(record)
        if self._tensorboard is not None:
            self._tensorboard.log(record)

    def summary(self, values: dict) -> None:
        """Logs the results of the run, to W&B and MLflow only."""
        if self._wandb is not None:
            self._wandb.summary(values)
        if self._mlflow is not None:
            self._mlflow.summary(values)

    def table(self, name: str, columns: list[str], rows: list[list]) -> None:
        """Logs a table, to W&B only."""
        if self._wandb is not None:
            self._wandb.table(name, columns, rows)

    def use_artifact(self, make: Callable[[], Artifact]) -> None:
        """Logs an input artifact of the run, to W&B only."""
        if self._wandb is not None:
            self._wandb.use_artifact(make)

    def log_artifact(self, make: Callable[[], Artifact], aliases: list[str]) -> None:
        """Logs an output artifact of the run, to W&B only."""
        if self._wandb is not None:
            self._wandb.log_artifact(make, aliases)

    def alert(self, problem: str) -> None:
        """Sends a W&B alert about lost ranks, from any thread, just before this process ends."""
        self._finish(RanksLost(problem), _LAST_SECONDS)

    def close(self, problem: BaseException | None = None) -> None:
        """Closes all files and the W&B run; may be called more than once.

        Args:
            problem: The exception that ended the run early. W&B sends an alert, except for a stop on request, after
                which the W&B run can be resumed. After :class:`NotFinite` it will be, in this process.
        """
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._tensorboard = None
        self._finish(problem)

    def _finish(self, problem: BaseException | None, patience: float = PATIENCE) -> None:
        mlflow, self._mlflow = self._mlflow, None
        run, self._wandb = self._wandb, None
        if mlflow is not None:
            mlflow.finish(_status(problem), patience)
        if run is None:
            return
        if isinstance(problem, NotFinite):
            run.alert(f"{self.run.name} goes back", f"{self.run}: {problem}: it goes back to its last checkpoint")
        if isinstance(problem, (Stopped, NotFinite)):
            run.finish(STOPPED_EXIT_CODE, stopped=True)
            return
        if isinstance(problem, Exception):
            run.alert(f"{self.run.name} failed", f"{self.run}: {type(problem).__name__}: {problem}")
        run.finish(0 if problem is None else 1)


def _status(problem: BaseException | None) -> str:
    """Status in MLflow of a run that ends with an exception, or without."""
    if problem is None:
        return "FINISHED"
    return "RUNNING" if isinstance(problem, NotFinite) else "KILLED" if isinstance(problem, Stopped) else "FAILED"
