"""The model of a run with its held-out ratings."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

import numpy as np

from gnnrec.data.prepared import SPLIT_NAMES, TEST, VALIDATION
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.load import load_run
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.run_vectors import RunVectors
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.reporting.run_records import RunRecords
from gnnrec.training.checkpoint.info import checkpoints

#: Users whose ratings are in memory at a time.
_CHUNK = 65536


@dataclasses.dataclass
class OpenedRun:
    """A run's model on its dataset, on one rank.

    Attributes:
        records: Records of the run directory.
        loaded: The model.
        source: Its vectors for recommendations.
        split: Split to measure it on: test if the run has ended, otherwise validation; None without held-out ratings.
    """

    records: RunRecords
    loaded: LoadedRun
    source: RunVectors
    split: int | None

    @cached_property
    def embeddings(self) -> NodeEmbeddings:
        """Exact embeddings of all users and movies."""
        return self.loaded.embed(_CHUNK)

    @property
    def diverged(self) -> bool:
        """Whether its vectors are NaN or infinite."""
        return not np.isfinite(self.source.scoring.movies).all()

    @property
    def split_name(self) -> str:
        """``test`` or ``validation``."""
        return SPLIT_NAMES[self.split]


def open_run(records: RunRecords, world: World, data: Path | None) -> OpenedRun | None:
    """Opens the best checkpoint, or else the last; returns None without checkpoints.

    Args:
        records: The run.
        world: One rank.
        data: The prepared dataset, if it has moved.

    Raises:
        UserError: No dataset, or not the one that the run was trained on.
    """
    saved = [name for name, kind in (("best", "best"), ("last", "step")) if checkpoints(records.directory, kind)]
    if not saved:
        return None
    path = Path(data or records.config.data)
    if not (path / "manifest.json").exists():
        raise UserError(f"{path}, the dataset of {records.directory}, does not exist: pass its path with --data")
    loaded = load_run(records.directory, world, saved[0], data)
    source = RunVectors(records.directory, world, saved[0], data, _CHUNK)
    return OpenedRun(records, loaded, source, _held_out(records, loaded))


def _held_out(records: RunRecords, loaded: LoadedRun) -> int | None:
    """Chooses the split. Test ratings are read only after training, so that they cannot influence it."""
    counts = loaded.dataset.manifest.split["counts"]
    if records.ended and counts["test"] and records.config.refit != "all":
        return TEST
    return VALIDATION if counts["validation"] and not records.config.refit else None
