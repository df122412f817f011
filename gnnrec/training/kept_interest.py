"""Interest of the run that another one continues from, by raw id."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.models.interest import Interest
from gnnrec.training.checkpoint.info import INTEREST
from gnnrec.training.checkpoint.tensors import check_kinds
from gnnrec.training.init_source import open_init_source
from gnnrec.training.kept_rows import rows_of


def kept_interest(run: Path, dataset: PreparedDataset, world: World) -> Interest | None:
    """Returns the interest of a finished run with the rows of a dataset; new movies have rows of zeros.

    Args:
        run: The run directory, or a published model.
        dataset: The dataset.
        world: The ranks; every rank calls this.

    Returns:
        None if the run has no interest.

    Raises:
        UserError: The run has no checkpoint, or it is damaged.
    """
    source = open_init_source(run, world)
    if source.interest is None:
        return None
    kept, state = source.kept.movies, source.interest
    check_kinds(source.place.parent / f"{INTEREST} of {source.place.name}", state, Interest.kinds(state, len(kept)))
    interest = Interest.of_state(state, world.device)
    rows = rows_of(kept, pd.Index(dataset.movies["movie"])).to(world.device)
    known = (rows >= 0)[:, None]

    def moved(table: torch.Tensor) -> torch.Tensor:
        return torch.where(known, table[rows.clamp(min=0)], 0.0)

    return dataclasses.replace(
        interest, message_embedding=moved(interest.message_embedding), target=moved(interest.target)
    )
