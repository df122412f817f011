"""``gnnrec.embed``, and what it returns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from gnnrec.api.source import opened
from gnnrec.api.training import Run


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Vectors of all users and movies, as an export has them: index raw ids, columns 0 to ``dim - 1``, float32.

    A rating model with the dot head predicts ``offset + user_bias + movie_bias + user vector . movie vector``; a
    ranking model scores a pair by the product alone. Of the MLP head these are inputs (docs/export.md).

    Attributes:
        users: ``[users, dim]``; ``users.to_numpy()`` is the matrix, ``users.loc[42]`` one vector.
        movies: ``[movies, dim]``.
        user_bias: ``[users]``.
        movie_bias: ``[movies]``.
        offset: Added to every score.
    """

    users: pd.DataFrame
    movies: pd.DataFrame
    user_bias: pd.Series
    movie_bias: pd.Series
    offset: float


def embed(
    source: Run | Path | str,
    *,
    ratings: pd.DataFrame | Path | str | None = None,
    checkpoint: str = "best",
    data: Path | str | None = None,
    device: str = "auto",
) -> Embeddings:
    """Exact vectors of all users and movies, in memory; ``gnnrec export`` writes them for data that is larger.

    Args:
        source: A run, or a run directory or an export.
        ratings: Ratings of users who are embedded in place of those of the dataset: new ones from these alone.
        checkpoint: Of a run, ``best`` or ``last``.
        data: The prepared dataset, where it has moved since training.
        device: ``auto`` (CUDA where there is any), ``cpu`` or ``cuda``.

    Raises:
        UserError: Bad input.
    """
    options = {"checkpoint": checkpoint, "data": data, "device": device}
    with opened(source, ratings, options, every_user=True) as (vectors, _, _):
        users = vectors.block(range(vectors.num_users))
        user_ids = pd.Index(users.ids.to_pandas(), name="user")
        movie_ids = pd.Index(vectors.catalogue.movies.to_pandas(), name="movie")
        scoring = vectors.scoring
        return Embeddings(
            pd.DataFrame(users.vectors, index=user_ids),
            pd.DataFrame(scoring.movies, index=movie_ids),
            pd.Series(users.bias, index=user_ids, name="bias"),
            pd.Series(scoring.bias, index=movie_ids, name="bias"),
            float(scoring.offset),
        )
