"""``gnnrec.recommend`` and ``gnnrec.similar``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from gnnrec.api.source import opened
from gnnrec.api.training import Run
from gnnrec.distributed.world import World
from gnnrec.inference.recommend_filters import allowed_movies
from gnnrec.inference.recommend_one import Answer, for_user, like_movie
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource


def recommend(
    source: Run | Path | str,
    user: int | str | Iterable[int | str] | None = None,
    *,
    top: int = 10,
    genre: list[str] | None = None,
    min_year: int | None = None,
    max_year: int | None = None,
    min_ratings: int = 0,
    ratings: pd.DataFrame | Path | str | None = None,
    checkpoint: str = "best",
    data: Path | str | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """The movies with the highest scores that a user has not rated.

    A run is opened in each call; from an export, or for several users at once, answers come sooner.

    Args:
        source: A run, or a run directory or an export.
        user: A raw id, several of them, or None for all users.
        top: Movies for a user.
        genre: Only movies of one of these genres.
        min_year: Only movies of this year or later, by the year at the end of the title.
        max_year: Only movies of this year or earlier.
        min_ratings: Only movies with at least so many ratings in the dataset.
        ratings: Ratings of users who stand in for those of the dataset: new ones are known by these alone.
        checkpoint: Of a run, ``best`` or ``last``.
        data: The prepared dataset, where it has moved since training.
        device: ``auto`` (CUDA where there is any), ``cpu`` or ``cuda``.

    Returns:
        Columns ``user``, ``rank`` (from 1), ``movie`` (raw id), ``title``, ``score``: of a rating model the predicted
        rating, clipped to the scale. Users in the order they were asked for.

    Raises:
        UserError: Bad input, or an id that nobody has.
    """
    users = [user] if isinstance(user, str) or not isinstance(user, Iterable) else list(user)
    options = {"top": top, "genre": genre, "min_year": min_year, "max_year": max_year, "min_ratings": min_ratings}
    options |= {"user": "", "checkpoint": checkpoint, "data": data, "device": device}
    with opened(source, ratings, options, every_user=user is None) as (vectors, read, world):
        read.check()
        if user is None:
            return _for_all(vectors, read, world or World())
        return _joined([_for_one(vectors, read, str(each)) for each in users])


def similar(
    source: Run | Path | str,
    movie: int | str,
    *,
    top: int = 10,
    genre: list[str] | None = None,
    min_year: int | None = None,
    max_year: int | None = None,
    min_ratings: int = 0,
    checkpoint: str = "best",
    data: Path | str | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """The movies whose vectors have the highest cosine with that of a movie.

    Args:
        source: A run, or a run directory or an export.
        movie: A raw id, a title, or a beginning that only one title has.
        top: Movies to return.
        genre, min_year, max_year, min_ratings, checkpoint, data, device: As :func:`recommend` has them.

    Returns:
        Columns ``rank`` (from 1), ``movie`` (raw id), ``title``, ``similarity`` (-1 to 1).

    Raises:
        UserError: Bad input, or no such movie.
    """
    options = {"top": top, "genre": genre, "min_year": min_year, "max_year": max_year, "min_ratings": min_ratings}
    options |= {"similar_to": str(movie), "checkpoint": checkpoint, "data": data, "device": device}
    with opened(source, None, options, every_user=False) as (vectors, read, _):
        read.check()
        return _table(like_movie(vectors, read), "similarity")


def _for_one(vectors: VectorSource, options: RecommendOptions, user: str) -> pd.DataFrame:
    row = vectors.find(user)
    table = _table(for_user(vectors, dataclasses.replace(options, user=user)), "score")
    table.insert(0, "user", vectors.block(range(row, row + 1)).ids.to_pandas().iloc[0])
    return table


def _for_all(vectors: VectorSource, options: RecommendOptions, world: World) -> pd.DataFrame:
    from gnnrec.inference.recommend_all import BestMovies

    best = BestMovies(vectors, allowed_movies(vectors.catalogue, options), options.top, world.device)
    tables = []
    for first in range(0, vectors.num_users, options.part_rows):
        world.check_stop()
        rows = range(first, min(first + options.part_rows, vectors.num_users))
        tables.append(best.table(rows).to_pandas())
    table = _joined(tables)
    titles = pd.Series(vectors.catalogue.titles, index=vectors.catalogue.movies.to_pandas())
    table.insert(3, "title", titles.loc[table["movie"]].to_numpy())
    return table


def _table(answer: Answer, score: str) -> pd.DataFrame:
    ranks = range(1, len(answer.titles) + 1)
    return pd.DataFrame({"rank": ranks, "movie": answer.movies, "title": answer.titles, score: answer.scores})


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame(columns=["user", "rank", "movie", "title", "score"])
    )
