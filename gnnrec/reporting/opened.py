"""The model of a run and what it was not shown in training."""

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
from gnnrec.inference.vectors_of_run import VectorsOfRun
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.reporting.run_records import RunRecords
from gnnrec.training.checkpoint.info import checkpoints

#: Users whose ratings are in memory at a time while all are embedded.
_CHUNK = 65536


@dataclasses.dataclass
class OpenedRun:
    """A run's model on its dataset, on one rank.

    Attributes:
        records: What the run directory says.
        loaded: The model.
        source: Its vectors, as recommendations use them.
        split: What it is measured on: test once the run has ended, before that validation; None where there is
            nothing.
    """

    records: RunRecords
    loaded: LoadedRun
    source: VectorsOfRun
    split: int | None

    @cached_property
    def embeddings(self) -> NodeEmbeddings:
        """Exact embeddings of everything."""
        return self.loaded.embed(_CHUNK)

    @property
    def diverged(self) -> bool:
        """Whether its vectors are no numbers."""
        return not np.isfinite(self.source.scoring.movies).all()

    @property
    def split_name(self) -> str:
        """``test`` or ``validation``."""
        return SPLIT_NAMES[self.split]


def open_run(records: RunRecords, world: World, data: Path | None) -> OpenedRun | None:
    """Opens the best checkpoint, or without one the last; None where nothing has been saved yet.

    Args:
        records: The run.
        world: One rank.
        data: The prepared dataset, where it has moved.

    Raises:
        UserError: No dataset, or another one than the run was trained on.
    """
    kept = [name for name, kind in (("best", "best"), ("last", "step")) if checkpoints(records.directory, kind)]
    if not kept:
        return None
    place = Path(data or records.config.data)
    if not (place / "manifest.json").exists():
        raise UserError(f"{place}, the dataset of {records.directory}, is not there: pass its place with --data")
    loaded = load_run(records.directory, world, kept[0], data)
    source = VectorsOfRun(records.directory, world, kept[0], data, _CHUNK)
    return OpenedRun(records, loaded, source, _held_out(records, loaded))


def _held_out(records: RunRecords, loaded: LoadedRun) -> int | None:
    """Test ratings are read once a run has ended: what comes before may still be changed by what one sees."""
    counts = loaded.dataset.manifest.split["counts"]
    if records.ended and counts["test"]:
        return TEST
    return VALIDATION if counts["validation"] and not records.config.refit else None
