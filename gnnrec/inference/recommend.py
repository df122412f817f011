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
from gnnrec.inference.load import load_run


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
    """The movies with the highest predicted ratings, or scores, among those that the user has not rated.

    Args:
        run: Run directory of ``train_dist.py``.
        options: The options.

    Returns:
        Columns ``rank``, ``movie`` (raw id), ``title``, and ``rating`` (predicted, clipped to the scale) or
        ``score`` (of a ranking model).
    """
    if options.top < 1:
        raise UserError(f"--top {options.top}: must be at least 1")
    loaded = load_run(run, World(), options.checkpoint, options.data)
    row = find_user(loaded.dataset, options.user)
    scores = loaded.user_scores(loaded.embed(), row).clone()
    rated = loaded.dataset.movie[loaded.dataset.user_ptr[row] : loaded.dataset.user_ptr[row + 1]]
    scores[torch.from_numpy(np.array(rated, dtype=np.int64))] = -torch.inf
    count = min(options.top, int(scores.isfinite().sum()))
    highest, best = torch.topk(scores, count)
    movies = loaded.dataset.movies.iloc[best.numpy()]
    return pd.DataFrame(
        {
            "rank": np.arange(1, count + 1),
            "movie": movies["movie"].to_numpy(),
            "title": movies["title"].to_numpy(),
            loaded.score_name: loaded.shown(highest).numpy(),
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


def print_recommendations(user: str, table: pd.DataFrame) -> None:
    """The table as text."""
    print(f"for user {user}")
    digits = 2 if "rating" in table else 4
    for rank, _, title, score in table.itertuples(index=False):
        print(f"{rank:4}  {score:.{digits}f}  {title}")
