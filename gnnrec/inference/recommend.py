"""Movies for a user, by title."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed import World
from gnnrec.errors import UserError
from gnnrec.inference.load import LoadedRun, load_run


@dataclasses.dataclass
class RecommendOptions:
    """Options of ``gnnrec recommend``.

    Args:
        user: Raw id of the user.
        top: Movies to print.
        checkpoint: best or last.
        data: Prepared dataset, where it has moved since training.
    """

    user: str
    top: int = 10
    checkpoint: Literal["best", "last"] = "best"
    data: Path | None = None


def recommend(run: Path, options: RecommendOptions) -> pd.DataFrame:
    """The movies with the highest predicted ratings among those that the user has not rated.

    Args:
        run: Run directory of ``train_dist.py``.
        options: The options.

    Returns:
        Columns ``rank``, ``movie`` (raw id), ``title``, ``rating`` (predicted, clipped to the scale).
    """
    if options.top < 1:
        raise UserError(f"--top {options.top}: must be at least 1")
    loaded = load_run(run, World(), options.checkpoint, options.data)
    row = find_user(loaded.dataset, options.user)
    scores = user_scores(loaded, row)
    rated = loaded.dataset.movie[loaded.dataset.user_ptr[row] : loaded.dataset.user_ptr[row + 1]]
    scores[torch.from_numpy(np.array(rated, dtype=np.int64))] = -torch.inf
    count = min(options.top, int(scores.isfinite().sum()))
    rating, best = torch.topk(scores, count)
    movies = loaded.dataset.movies.iloc[best.numpy()]
    return pd.DataFrame(
        {
            "rank": np.arange(1, count + 1),
            "movie": movies["movie"].to_numpy(),
            "title": movies["title"].to_numpy(),
            "rating": rating.clamp(*loaded.graph.rating_scale).numpy(),
        }
    )


def find_user(dataset: PreparedDataset, user: str) -> int:
    """Row of a user, from the raw id as it was typed."""
    ids = dataset.users["user"]
    matches = np.flatnonzero(ids.astype(str).to_numpy() == user)
    if matches.size == 0:
        some = ", ".join(ids.astype(str).sort_values().head(3))
        raise UserError(f"--user {user}: nobody has this id in {dataset.directory} (ids look like {some})")
    return int(matches[0])


@torch.no_grad()
def user_scores(loaded: LoadedRun, row: int) -> torch.Tensor:
    """Predicted ratings of one user for all movies, not clipped, float ``[movies]``."""
    embeddings = loaded.embed()
    scores = loaded.model.head.all_movies(embeddings.user[row : row + 1], embeddings.movie)[0]
    return scores + embeddings.user_bias[row] + embeddings.movie_bias + embeddings.offset


def print_recommendations(user: str, table: pd.DataFrame) -> None:
    """The table as text."""
    print(f"for user {user}")
    for line in table.itertuples():
        print(f"{line.rank:4}  {line.rating:.2f}  {line.title}")
