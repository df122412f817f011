"""Saves a run during training, and stops it where all ranks can."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnnrec.distributed.shutdown import reason
from gnnrec.distributed.world import AsyncMaxReduce
from gnnrec.errors import Stopped, UserError
from gnnrec.evaluation.metrics import Metrics
from gnnrec.training.checkpoint.info import CheckpointInfo, checkpoint_path, checkpoints
from gnnrec.training.checkpoint.write import CheckpointState, CheckpointWriter, SaveFailed, remove_checkpoint
from gnnrec.training.finite import NotFinite
from gnnrec.training.run_lock import RunLock
from gnnrec.training.tracking.tracker import Tracker
from gnnrec.training.train_state import TrainState
from gnnrec.training.trainer import Trainer
from gnnrec.utils.log import logger
from gnnrec.utils.timer import Timer


def _timed(method: Callable) -> Callable:
    """Adds the time of a method to :attr:`TimeTotals.checkpoints`; nested calls count once."""

    @functools.wraps(method)
    def timed(self: CheckpointManager, *arguments: Any, **options: Any) -> Any:
        before = self._waiting.seconds
        try:
            with self._waiting:
                return method(self, *arguments, **options)
        finally:
            self.state.times.checkpoints += self._waiting.seconds - before

    return timed


class CheckpointManager:
    """Writes and removes the checkpoints of a run. Every rank makes the same calls.

    Files are written in the background, one checkpoint at a time. A checkpoint that cannot be written causes a
    warning: training continues, and the previous checkpoint is kept.

    Args:
        trainer: The trainer to save.
        tracker: Tracker of the run.
        state: Position and totals of the run, which the training loop updates.
        run_lock: Lock on the run directory.
    """

    def __init__(self, trainer: Trainer, tracker: Tracker, state: TrainState, run_lock: RunLock):
        self.trainer, self.tracker, self.state, self.run_lock = trainer, tracker, state, run_lock
        self.world, self.options = trainer.world, trainer.config.checkpoint
        self._flags = AsyncMaxReduce(self.world)
        self._writer: CheckpointWriter | None = None
        self._best_to_save: tuple[CheckpointState, CheckpointInfo] | None = None
        self._saved_step, self._saved_time = trainer.steps_taken, time.monotonic()
        self._waiting = Timer()

    def after_step(self) -> None:
        """Starts and finishes checkpoints that are due.

        Ranks act on the flags that they exchanged after the previous step, so that none waits for another here.

        Raises:
            Stopped: A rank was asked to stop.
        """
        flags = self._flags.wait()
        if flags is not None:
            stop, due, busy = flags
            if self._writer is not None and not busy:
                self._finish()
            if stop:
                raise Stopped(f"by {reason(stop)}")
            if due and self._writer is None:
                self._begin_step()
        every = self.options.every_steps
        if every and self.trainer.steps_taken % every == 0 and self.trainer.steps_taken != self._saved_step:
            self._begin_step()
        busy = self._writer is not None and self._writer.busy
        self._flags.start([self.world.stop.code, self._due_by_clock(), int(busy)])

    def after_epoch(self, validation: Metrics | None) -> None:
        """Saves the current weights if they are the best so far, or the last ones of a run without validation."""
        best = validation is not None and self.trainer.becomes_best(validation, self.state)
        if best or (self.trainer.finished and self.state.best is None):
            self.save_best()

    @_timed
    def save_best(self) -> None:
        """Saves the current weights as the best ones."""
        self._best_to_save = self.trainer.best_weights().copy(self.world), self._info()
        self._begin_best()

    def stop(self) -> None:
        """Saves the state of the run before it stops."""
        try:
            self._finish()
            if self.trainer.steps_taken != self._saved_step:
                self._begin_step()
            else:
                self._begin_best()
            self._finish()
        except NotFinite as problem:
            self.world.warn(f"{problem}: nothing was saved, and the run will be resumed from its last checkpoint")

    def save_step(self) -> None:
        """Saves the current state, in the background."""
        self._begin_step()

    def abandon(self) -> None:
        """Waits for what is being written and exchanged, before the run goes back to a checkpoint."""
        self._flags.wait()
        try:
            self._finish()
        except NotFinite as problem:
            self.world.warn(str(problem))

    def end(self) -> None:
        """Saves the final state of the run.

        Raises:
            UserError: The state cannot be saved.
        """
        self._finish()
        run = self.trainer.config.run_dir
        if self._best_to_save is None and not self.world.run_on_rank0(lambda: checkpoints(run, "best")):
            # The best weights were lost, and no validation has followed.
            self._best_to_save = self.trainer.best_weights().copy(self.world), self._info()
        try:
            self._begin_best(required=True)
            self._finish(required=True)
            if self.trainer.steps_taken != self._saved_step:
                self._begin_step(required=True)
                self._finish(required=True)
        except SaveFailed as failure:
            raise UserError(f"{failure}: make room, then resume with --resume auto") from None

    def _due_by_clock(self) -> int:
        minutes = self.options.every_minutes
        return int(self.world.is_main and 0 < minutes <= (time.monotonic() - self._saved_time) / 60)

    @_timed
    def _begin_step(self, required: bool = False) -> None:
        self._saved_time = time.monotonic()
        self._finish(required)
        self._begin_best(required)
        self._finish(required)
        # The saved state would refer to best weights that a full disk has just rejected.
        if self._best_to_save is None:
            self._begin("step", self.trainer.checkpoint_state().copy(self.world), self._info(), required)

    def _begin_best(self, required: bool = False) -> None:
        """Writes the best weights if they are still to be written: an earlier attempt may have met a full disk."""
        if self._best_to_save is not None:
            self._finish()
            contents, info = self._best_to_save
            self._begin("best", contents, info, required)

    @_timed
    def _begin(self, kind: str, contents: CheckpointState, info: CheckpointInfo, required: bool) -> None:
        self._finish()
        self.world.run_on_rank0(self.run_lock.check)
        directory = checkpoint_path(self.trainer.config.run_dir, kind, info.step)
        try:
            self._writer = CheckpointWriter(directory, contents, info, self.world)
        except SaveFailed as failure:
            if required:
                raise
            self._warn(failure)

    @_timed
    def _finish(self, required: bool = False) -> None:
        """Waits for the checkpoint that is being written, if any."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self.world.run_on_rank0(self.run_lock.check)
        self.tracker.sync()
        try:
            writer.finish()
        except SaveFailed as failure:
            if required:
                raise
            self._warn(failure)
            return
        kind = writer.directory.name.split("-")[0]
        if kind == "step":
            self._saved_step = writer.info.step
        elif self._best_to_save is not None and self._best_to_save[1] is writer.info:
            self._best_to_save = None
        self._remove_others(kind, writer.directory)

    def _remove_others(self, kind: str, newest: Path) -> None:
        """Removes all best weights but the newest, and step checkpoints past those to keep."""
        if not self.world.is_main:
            return
        present = checkpoints(self.trainer.config.run_dir, kind)
        # A run that went back may save better weights of an earlier step.
        for directory in (
            [path for path in present if path != newest] if kind == "best" else present[self.options.keep :]
        ):
            remove_checkpoint(directory)

    def _info(self) -> CheckpointInfo:
        """Description of a checkpoint of the current state.

        Raises:
            NotFinite: A loss since the last record is not finite.
        """
        trainer, state = self.trainer, self.state
        state.recorded_bytes, state.unrecorded = self.tracker.recorded_bytes, self.tracker.unrecorded
        values = state.as_dict(self.world)
        if not all(math.isfinite(loss) for losses in values["totals"]["loss"] for loss in losses):
            raise NotFinite(f"a loss up to step {trainer.steps_taken} is not finite")
        return CheckpointInfo(
            epoch=state.epoch,
            step=trainer.steps_taken,
            validation=state.validation,
            dataset=trainer.dataset.fingerprint,
            world_size=self.world.size,
            config=trainer.config.as_dict(),
            chosen=trainer.chosen(),
            train_state=values,
        )

    def _warn(self, failure: SaveFailed) -> None:
        if self.world.is_main:
            saved = checkpoints(self.trainer.config.run_dir, "step")
            latest = f"the latest checkpoint is {saved[0].name}" if saved else "no checkpoint has been saved yet"
            logger.warning(f"{failure}; training continues; {latest}")
