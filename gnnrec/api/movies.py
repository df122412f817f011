"""``gnnrec.recommend`` and ``gnnrec.similar``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gnnrec.api.python_names import python_errors
from gnnrec.api.source import open_vectors
from gnnrec.api.training import Run
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.list_order import list_order
from gnnrec.inference.recommend_one import RankedMovies, find_similar, recommend_to_user
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource

if TYPE_CHECKING:
    from gnnrec.api.session import Tables


@python_errors()
def recommend(
    source: Run | Path | str,
    user: int | str | Iterable[int | str] | None = None,
    *,
    top: int = 10,
    order_by: str | None = None,
    genre: list[str] | None = None,
    min_year: int | None = None,
    max_year: int | None = None,
    min_ratings: int = 0,
    new_movies: bool = False,
    new_share: float | None = None,
    why: int = 0,
    ratings: pd.DataFrame | Path | str | None = None,
    user_features: Tables = None,
    checkpoint: str = "best",
    data: Path | str | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Returns the movies with the highest scores among those that a user has not rated.

    Each call opens the run; several users in one call, or an export as the source, are faster.

    Args:
        source: A run, a run directory or an export.
        user: A raw id, several raw ids, or None for all users.
        top: Movies for each user.
        order_by: Order of the movies: ``interest``, ``rating``, or ``both``, which is the default where a rating run
            has interest.
        genre: Only movies of one of these genres.
        min_year: Only movies of this year or later, by the year at the end of the title.
        max_year: Only movies of this year or earlier.
        min_ratings: Only movies with at least this many ratings in the dataset.
        new_movies: Include movies without training ratings, whose vectors come from their features alone.
        new_share: Share of the places of each list that new movies get, whatever their scores are.
        why: Split each score of given users into parts that add up to it, and name so many of the user's ratings.
        ratings: A DataFrame or a file of ratings whose users replace those of the dataset. New users are embedded from
            these ratings alone.
        user_features: DataFrames or files with features of users, who replace those of the dataset, with ``ratings`` or
            without any.
        checkpoint: Checkpoint of a run, ``best`` or ``last``.
        data: The prepared dataset, if it has moved since training.
        device: ``auto`` (CUDA if available), ``cpu`` or ``cuda``.

    Returns:
        Columns ``user``, ``rank`` (from 1), ``movie`` (raw id), ``title``, ``score`` and, unless the scores of a rating
        model are its predicted ratings, ``rating``: the predicted rating, clipped to the scale. With ``why`` also
        ``why``: a dictionary of the parts of the score. Users are in the order of the call.

    Raises:
        UserError: Bad input, or an unknown user.
    """
    users = [user] if isinstance(user, str) or not isinstance(user, Iterable) else list(user)
    options = {"top": top, "genre": genre, "min_year": min_year, "max_year": max_year, "min_ratings": min_ratings}
    options |= {
        "user": "",
        "why": why,
        "new_movies": new_movies,
        "new_share": new_share,
        "order_by": order_by,
        "checkpoint": checkpoint,
        "data": data,
        "device": device,
    }
    with open_vectors(source, ratings, options, user is None, user_features) as (vectors, parsed, world):
        parsed.check()
        if user is None:
            if why:
                raise UserError(f"--why {why} is for given users: pass --user, or leave it out")
            return _for_all(vectors, parsed, world or World())
        return _concatenated([_for_one(vectors, parsed, str(one)) for one in users])


@python_errors(similar_to="movie")
def similar(
    source: Run | Path | str,
    movie: int | str,
    *,
    top: int = 10,
    genre: list[str] | None = None,
    min_year: int | None = None,
    max_year: int | None = None,
    min_ratings: int = 0,
    new_movies: bool = False,
    checkpoint: str = "best",
    data: Path | str | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Returns the movies whose vectors have the highest cosine similarity with that of a movie.

    Args:
        source: A run, a run directory or an export.
        movie: A raw id, a title, or a unique prefix of a title.
        top: Number of movies.
        genre, min_year, max_year, min_ratings, new_movies, checkpoint, data, device: See :func:`recommend`.

    Returns:
        Columns ``rank`` (from 1), ``movie`` (raw id), ``title``, ``similarity`` (-1 to 1).

    Raises:
        UserError: Bad input, or an unknown movie.
    """
    options = {"top": top, "genre": genre, "min_year": min_year, "max_year": max_year, "min_ratings": min_ratings}
    options |= {
        "similar_to": str(movie),
        "new_movies": new_movies,
        "checkpoint": checkpoint,
        "data": data,
        "device": device,
    }
    with open_vectors(source, None, options, every_user=False) as (vectors, parsed, _):
        parsed.check()
        return _table(find_similar(vectors, parsed), "similarity")


def _for_one(vectors: VectorSource, options: RecommendOptions, user: str) -> pd.DataFrame:
    row = vectors.find(user)
    table = _table(recommend_to_user(vectors, dataclasses.replace(options, user=user)), "score")
    table.insert(0, "user", vectors.block(range(row, row + 1)).ids.to_pandas().iloc[0])
    return table


def _for_all(vectors: VectorSource, options: RecommendOptions, world: World) -> pd.DataFrame:
    from gnnrec.inference.recommend_all import BestLists

    order = list_order(vectors.scoring, options.order_by)
    best = BestLists(vectors, options, world.device, order)
    tables = []
    for first in range(0, vectors.num_users, options.part_rows):
        world.check_stop()
        rows = range(first, min(first + options.part_rows, vectors.num_users))
        tables.append(best.table(rows).to_pandas())
    table = _concatenated(tables)
    titles = pd.Series(vectors.catalog.titles, index=vectors.catalog.movies.to_pandas())
    table.insert(3, "title", titles.loc[table["movie"]].to_numpy())
    return table


def _table(ranked: RankedMovies, score: str) -> pd.DataFrame:
    ranks = range(1, len(ranked.titles) + 1)
    table = pd.DataFrame({"rank": ranks, "movie": ranked.movies, "title": ranked.titles, score: ranked.scores})
    table = table if ranked.ratings is None else table.assign(rating=ranked.ratings)
    return table if ranked.reasons is None else table.assign(why=pd.Series(ranked.why_dicts(), dtype=object))


def _concatenated(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame(columns=["user", "rank", "movie", "title", "score"])
    )
