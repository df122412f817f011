"""Event files for TensorBoard (optional)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.training.tracking.best_effort import best_effort


class TensorBoardFiles:
    """Writes the records of ``metrics.jsonl`` for TensorBoard. Failures after the start become warnings.

    A resumed run writes its files anew, so no step is in them twice.

    Args:
        directory: Directory of the files; it is emptied.
        records: Earlier records of the run.

    Raises:
        UserError: tensorboard is not installed.
    """

    def __init__(self, directory: Path, records: Iterable[dict]):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "tensorboard is not installed: pip install 'gnnrec[tensorboard]', or leave out --tensorboard"
            ) from None
        self._best_effort = best_effort("TensorBoard")
        with self._best_effort:
            shutil.rmtree(directory, ignore_errors=True)
            # A running TensorBoard discards what it has read from the removed files.
            self._writer = SummaryWriter(directory, purge_step=0)
        for record in records:
            self.log(record)

    def log(self, record: dict) -> None:
        """Writes the numbers of a step."""
        with self._best_effort:
            for name, value in record.items():
                if name not in ("step", "time") and isinstance(value, (int, float)):
                    self._writer.add_scalar(name, value, record["step"], walltime=record["time"])
            self._writer.flush()

    def close(self) -> None:
        with self._best_effort:
            self._writer.close()
