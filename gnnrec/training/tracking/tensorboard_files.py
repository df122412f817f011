"""Event files for TensorBoard, which is optional."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.training.tracking.best_effort import best_effort


class TensorBoardFiles:
    """What ``metrics.jsonl`` says, for TensorBoard. What fails after the start costs a warning.

    A run that is gone on with writes its files anew: no step is in them twice.

    Args:
        directory: Where the files go; it is emptied.
        records: What is recorded already.

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
        self._harmless = best_effort("TensorBoard")
        with self._harmless:
            shutil.rmtree(directory, ignore_errors=True)
            # A TensorBoard that has read the files before forgets what it has read.
            self._writer = SummaryWriter(directory, purge_step=0)
        for record in records:
            self.log(record)

    def log(self, record: dict) -> None:
        """Writes the numbers of a step."""
        with self._harmless:
            for name, value in record.items():
                if name not in ("step", "time") and isinstance(value, (int, float)):
                    self._writer.add_scalar(name, value, record["step"], walltime=record["time"])
            self._writer.flush()

    def close(self) -> None:
        with self._harmless:
            self._writer.close()
