"""Where a run's numbers go: ``metrics.jsonl``, Weights & Biases and TensorBoard, all from rank 0."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.config.training_options import WandbOptions
from gnnrec.errors import STOPPED_EXIT_CODE, RanksLost, Stopped
from gnnrec.training.tracking.metrics_file import MetricsFile
from gnnrec.training.tracking.tensorboard_files import TensorBoardFiles
from gnnrec.training.tracking.wandb_run import WandbRun

if TYPE_CHECKING:
    from wandb import Artifact


class Tracker:
    """Takes the numbers of a run. On ranks other than 0 it does nothing.

    What W&B and TensorBoard cannot take costs a warning, never the run.

    Args:
        run: The run directory.
        options: Those of W&B.
        config: The resolved configuration, and what else describes the run from its start.
        active: True on rank 0.
        recorded_bytes: Length of ``metrics.jsonl`` to go on from; what follows is dropped.
        unrecorded: What belongs behind it and was not on the disk yet.
        wandb_run: Id of the W&B run to go on with; None starts one.
        tensorboard: Write files for TensorBoard too.
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
    ):
        self.active, self.run = active, run
        self._file = self._wandb = self._tensorboard = None
        if active:
            self._file = MetricsFile(run / "metrics.jsonl", recorded_bytes, unrecorded)
            if options.mode != "disabled":
                dropped = [json.loads(line) for line in self._file.dropped]
                self._wandb = WandbRun(run, options, config, wandb_run, sent=dropped)
            if tensorboard:
                self._tensorboard = TensorBoardFiles(run / "tensorboard", map(json.loads, self._file.lines()))

    @property
    def recorded_bytes(self) -> int:
        """Length of ``metrics.jsonl``."""
        return self._file.size if self._file is not None else 0

    @property
    def unrecorded(self) -> str:
        """What a full disk keeps out of ``metrics.jsonl``."""
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
        """MetricsFile numbers of one optimizer step; steps must not go back."""
        if not self.active:
            return
        record = {"step": step, "time": round(time.time(), 3), **values}
        self._file.write(json.dumps(record))
        if self._wandb is not None:
            self._wandb.log(record)
        if self._tensorboard is not None:
            self._tensorboard.log(record)

    def summary(self, values: dict) -> None:
        """MetricsFile the results of the run, in W&B only."""
        if self._wandb is not None:
            self._wandb.summary(values)

    def table(self, name: str, columns: list[str], rows: list[list]) -> None:
        """MetricsFile a table, in W&B only."""
        if self._wandb is not None:
            self._wandb.table(name, columns, rows)

    def use_artifact(self, make: Callable[[], Artifact]) -> None:
        """MetricsFile what the run is made from, in W&B only."""
        if self._wandb is not None:
            self._wandb.use_artifact(make)

    def log_artifact(self, make: Callable[[], Artifact], aliases: list[str]) -> None:
        """MetricsFile what the run made, in W&B only."""
        if self._wandb is not None:
            self._wandb.log_artifact(make, aliases)

    def alert(self, problem: str) -> None:
        """Tells W&B of lost ranks, from any thread, just before this process ends."""
        run, self._wandb = self._wandb, None
        self._finish(run, RanksLost(problem))

    def close(self, problem: BaseException | None = None) -> None:
        """Ends the records; may be called more than once.

        Args:
            problem: What ended the run before its time. W&B sends an alert, unless somebody stopped the run: then the
                W&B run is left to be gone on with.
        """
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._tensorboard = None
        run, self._wandb = self._wandb, None
        self._finish(run, problem)

    def _finish(self, run: WandbRun | None, problem: BaseException | None) -> None:
        if run is None:
            return
        if isinstance(problem, Stopped):
            run.finish(STOPPED_EXIT_CODE, stopped=True)
            return
        if isinstance(problem, Exception):
            run.alert(f"{self.run.name} failed", f"{self.run}: {type(problem).__name__}: {problem}")
        run.finish(0 if problem is None else 1)
