"""Recommendations for a few users next to movies that they liked, and movies similar to well-known ones."""

from __future__ import annotations

import numpy as np

from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.inference.recommend_one import RankedMovies, find_similar, recommend_to_user
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource
from gnnrec.reporting.content import Entry, MovieLists, Section
from gnnrec.reporting.movie_map import most_rated

#: Movies in a list, and number of well-known movies.
_LISTED, _WELL_KNOWN = 8, 6
#: Minimum ratings of similar movies, if enough movies have as many: vectors of rare movies are unreliable.
_FEWEST_RATINGS = 10


def recommendations(source: VectorSource, users: int) -> Section | None:
    """Lists the favorite movies and the recommendations of some users.

    Args:
        source: The vectors.
        users: Number of users.
    """
    catalog, row_of = source.catalog, _rows_by_id(source.catalog)
    items = []
    for row in spread_users(np.diff(catalog.ratings.user_ptr), users):
        identity = str(catalog.users[row].as_py())
        answer = recommend_to_user(source, RecommendOptions(user=identity, top=_LISTED))
        rated = catalog.rated(row)
        by_title = {catalog.titles[movie]: movie for movie in rated}
        liked = [
            Entry(title, _genres(catalog, by_title[title]), f"{rating:g}")
            for title, rating in catalog.favorites(row, _LISTED)
        ]
        lists = [("Liked best", liked), ("Recommended", _entries(answer, catalog, row_of))]
        items.append(MovieLists(f"User {identity} · {len(rated):,} ratings", lists))
    if not items:
        return None
    score = "predicted rating" if source.scoring.scale else "score, of which only the order matters"
    if source.scoring.interest_dim:
        score = "sum of interest and weighted predicted rating, with the predicted rating"
    text = (
        f"A few users, from those with few ratings to those with many. Left: their highest ratings. Right: the movies "
        f"that they have not rated with the highest {score}."
    )
    if source.scoring.scale and not source.scoring.interest_dim:
        text += " Lists in the order of predicted ratings leave out what a user is likely to rate at all."
    return Section("recommendations", "Recommendations", text, items)


def similar_movies(source: VectorSource) -> Section | None:
    """Lists the movies whose vectors are nearest to those of well-known movies."""
    catalog, row_of = source.catalog, _rows_by_id(source.catalog)
    fewest = _FEWEST_RATINGS if (catalog.counts >= _FEWEST_RATINGS).sum() > 5 * _LISTED else 0
    lists = []
    for row in most_rated(catalog, _WELL_KNOWN):
        identity = str(catalog.movies[int(row)].as_py())
        answer = find_similar(source, RecommendOptions(similar_to=identity, top=_LISTED, min_ratings=fewest))
        lists.append((catalog.titles[row], _entries(answer, catalog, row_of)))
    if not lists:
        return None
    text = "The movies most like those that were rated most often, by the cosine of their vectors"
    text += f", among those with {fewest} ratings or more." if fewest else "."
    return Section("similar", "Similar movies", text, [MovieLists("", lists)])


def spread_users(ratings: np.ndarray, count: int) -> list[int]:
    """Chooses users evenly by activity, from few ratings to many, without the extremes.

    Args:
        ratings: Number of ratings of each user, ``[users]``.
        count: Maximum number of users.

    Returns:
        Rows of the users.
    """
    order = np.argsort(ratings, kind="stable")
    order = order[ratings[order] > 0]
    positions = (np.arange(count) + 0.5) / max(count, 1) * len(order)
    return [int(order[position]) for position in dict.fromkeys(positions.astype(int)) if position < len(order)]


def _rows_by_id(catalog: MovieCatalog) -> dict:
    return {identity: row for row, identity in enumerate(catalog.movies.to_pylist())}


def _genres(catalog: MovieCatalog, row: int) -> str:
    return ", ".join(catalog.genres[row][:3])


def _entries(ranked: RankedMovies, catalog: MovieCatalog, row_of: dict) -> list[Entry]:
    values, digits = ranked.scores, 3 if ranked.name == "score" else 2
    if ranked.ratings is not None:
        values, digits = ranked.ratings, 2
    return [
        Entry(title, _genres(catalog, row_of[movie]), f"{value:.{digits}f}")
        for movie, title, value in zip(ranked.movies, ranked.titles, values)
    ]
