"""``gnnrec.embed`` and the embeddings that it returns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gnnrec.api.python_names import python_errors
from gnnrec.api.source import open_vectors
from gnnrec.api.training import Run

if TYPE_CHECKING:
    from gnnrec.api.session import Tables


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Embeddings of all users and movies: the index has raw ids, the columns are 0 to ``dim - 1``, float32.

    A rating model with the dot head predicts ``offset + user_bias + movie_bias + user vector . movie vector``; a
    ranking model scores a pair by the product alone. For the MLP head the vectors are inputs (docs/export.md).
    :func:`gnnrec.recommend` orders movies by the predicted rating plus the product of the vectors of interest.

    Attributes:
        users: ``[users, dim]``; ``users.to_numpy()`` is the matrix, ``users.loc[42]`` one vector.
        movies: ``[movies, dim]``.
        user_bias: ``[users]``.
        movie_bias: ``[movies]``.
        offset: Constant term of every score.
        user_interest: Vectors of interest, ``[users, interest dim]``; None without interest.
        movie_interest: ``[movies, interest dim]``; None without interest.
    """

    users: pd.DataFrame
    movies: pd.DataFrame
    user_bias: pd.Series
    movie_bias: pd.Series
    offset: float
    user_interest: pd.DataFrame | None = None
    movie_interest: pd.DataFrame | None = None


@python_errors()
def embed(
    source: Run | Path | str,
    *,
    ratings: pd.DataFrame | Path | str | None = None,
    user_features: Tables = None,
    checkpoint: str = "best",
    data: Path | str | None = None,
    device: str = "auto",
) -> Embeddings:
    """Returns exact embeddings of all users and movies in memory; :func:`gnnrec.export` writes them to files.

    Args:
        source: A run, a run directory or an export.
        ratings: A DataFrame or a file of ratings whose users replace those of the dataset. New users are embedded from
            these ratings alone.
        user_features: DataFrames or files with features of users, who replace those of the dataset, with ``ratings`` or
            without any.
        checkpoint: Checkpoint of a run, ``best`` or ``last``.
        data: The prepared dataset, if it has moved since training.
        device: ``auto`` (CUDA if available), ``cpu`` or ``cuda``.

    Raises:
        UserError: Bad input.
    """
    options = {"checkpoint": checkpoint, "data": data, "device": device}
    with open_vectors(source, ratings, options, True, user_features) as (vectors, _, _):
        users = vectors.block(range(vectors.num_users))
        user_ids = pd.Index(users.ids.to_pandas(), name="user")
        movie_ids = pd.Index(vectors.catalog.movies.to_pandas(), name="movie")
        scoring, dim = vectors.scoring, vectors.scoring.own_dim
        interest: dict[str, pd.DataFrame] = {}
        if scoring.interest_dim:
            interest["user_interest"] = pd.DataFrame(users.vectors[:, dim:], index=user_ids)
            interest["movie_interest"] = pd.DataFrame(scoring.movies[:, dim:], index=movie_ids)
        return Embeddings(
            pd.DataFrame(users.vectors[:, :dim], index=user_ids),
            pd.DataFrame(scoring.movies[:, :dim], index=movie_ids),
            pd.Series(users.bias, index=user_ids, name="bias"),
            pd.Series(scoring.bias, index=movie_ids, name="bias"),
            float(scoring.offset),
            **interest,
        )
