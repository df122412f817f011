"""Answers from one snapshot: lists, similar movies and scores as plain values, ready for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnnrec.inference.movie_ranker import similar_rows, user_lists
from gnnrec.inference.new_share import Lists
from gnnrec.serving.diversity import POOL, diverse_order
from gnnrec.serving.reasons import reasons_of
from gnnrec.serving.requests import ListRequest, filters_of
from gnnrec.serving.snapshot import Snapshot
from gnnrec.serving.targets import Target


def find_near(snapshot: Snapshot, request: ListRequest, target: Target) -> np.ndarray | None:
    """Returns rows of movies among which the index finds the best ones; None where all movies have to be scored."""
    if snapshot.index is None or not snapshot.index.serves(snapshot.ranker(request.order_by)):
        return None
    if request.allow or request.deny or request.new_share is not None:
        return None
    allowed = snapshot.movies.allowed(request.filters)
    return snapshot.index.near(target.user.vectors[0], _listed(request), target.rated, allowed)


def best_movies(
    snapshot: Snapshot,
    request: ListRequest,
    target: Target,
    scores: np.ndarray | None = None,
    near: np.ndarray | None = None,
) -> Lists:
    """Returns the movies of a page as :func:`gnnrec.inference.movie_ranker.user_lists` does.

    Args:
        snapshot: The vectors.
        request: The list.
        target: The user.
        scores: The user's row of :meth:`gnnrec.inference.movie_ranker.MovieRanker.scores`, if it is there.
        near: Result of :func:`find_near`, if it is there.
    """
    ranker = snapshot.ranker(request.order_by)
    if scores is None and near is None:
        near = find_near(snapshot, request, target)
    if near is not None:
        lists = ranker.lists_among(target.user, near, _listed(request))
    else:
        new = None if request.new_places is None else (snapshot.movies.cold, request.new_places)
        left_out = None
        if new is None and not (request.allow or request.deny):
            left_out = snapshot.movies.left_out(request.filters)
        if left_out is not None:
            allowed = np.concatenate([target.rated, left_out])  # of all movies only these may not
        else:
            allowed = snapshot.movies.candidates(request.filters, request.allow, request.deny)
            allowed[target.rated] = False
        lists = user_lists(ranker, target.user, allowed, _listed(request), new, scores)
    if request.diversity:
        order = diverse_order(lists[0][0], snapshot.own.movies[lists[1][0]], request.diversity, request.length)
        lists = tuple(None if values is None else values[:, order] for values in lists)  # type: ignore[assignment]
    page = slice(request.length - request.top, request.length)
    return tuple(None if values is None else values[:, page] for values in lists)  # type: ignore[return-value]


def _listed(request: ListRequest) -> int:
    """Returns the movies of the list that a page is cut from."""
    return max(POOL, request.length) if request.diversity else request.length


def list_answer(
    snapshot: Snapshot,
    request: ListRequest,
    target: Target,
    scores: np.ndarray | None = None,
    near: np.ndarray | None = None,
) -> dict[str, Any]:
    """Returns the page of a user: ``user`` for known ones, ``score``, ``page``, ``movies``.

    Arguments are those of :func:`best_movies`.

    Raises:
        RequestError: Unknown genres or ids, or reasons that the model cannot give.
    """
    chosen, rows, ratings = best_movies(snapshot, request, target, scores, near)
    movies = [snapshot.movies.describe(row) for row in rows[0].tolist()]
    _add(movies, "score", chosen[0])
    if ratings is not None:
        _add(movies, "rating", ratings[0])
    if request.why:
        for movie, reasons in zip(movies, reasons_of(snapshot, request, target, rows[0])):
            movie["why"] = reasons
    name = snapshot.ranker(request.order_by).order.name
    answer = {} if target.row is None else {"user": snapshot.users[target.row]}
    return answer | {"score": name, "page": request.page, "movies": movies}


def similar_answer(snapshot: Snapshot, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the movies whose vectors have the highest cosine similarity with that of a movie.

    Args:
        snapshot: The vectors.
        values: Values of :data:`gnnrec.serving.requests.SIMILAR`.

    Raises:
        RequestError: An unknown movie or genre.
    """
    row = snapshot.movies.find("movie", values["movie"])
    allowed = snapshot.movies.candidates(filters_of(values), values["allow"], values["deny"])
    allowed[row] = False
    end = values["top"] * values["page"]
    rows, cosines = similar_rows(snapshot.own.movies, snapshot.lengths, row, allowed, end)
    page = slice(end - values["top"], end)
    movies = [snapshot.movies.describe(each) for each in rows[page].tolist()]
    _add(movies, "similarity", cosines[page])
    return {**snapshot.movies.describe(row), "page": values["page"], "movies": movies}


def score_answer(snapshot: Snapshot, target: Target, movies: tuple[str, ...]) -> dict[str, Any]:
    """Returns the scores of given movies, as ``gnnrec predict`` computes them.

    Raises:
        RequestError: An unknown movie.
    """
    own = snapshot.own
    rows = np.array([snapshot.movies.row("movie", movie) for movie in movies], np.int64)
    factors = own.rows(target.user.vectors[:, : own.own_dim])
    products = own.pair_scores(np.repeat(factors, len(rows), 0), own.columns(), rows)
    found = [snapshot.movies.describe(row) for row in rows.tolist()]
    _add(found, own.name, own.complete(products, target.user.bias))
    answer = {} if target.row is None else {"user": snapshot.users[target.row]}
    return answer | {"score": own.name, "movies": found}


def search_answer(snapshot: Snapshot, text: str, top: int) -> dict[str, Any]:
    """Returns the most rated movies with a text in their titles, with years and genres."""
    rows = snapshot.movies.titles.search(text, top)
    return {"movies": [snapshot.movies.describe(row) | {"genres": snapshot.movies.genres_of(row)} for row in rows]}


def _add(movies: list[dict[str, Any]], name: str, values: np.ndarray) -> None:
    """Adds numbers to movies; a float32 is the float64 of the same value, so that no bit is lost."""
    for movie, value in zip(movies, values.tolist()):
        movie[name] = value
