"""Recommendations for a few users next to what they liked, and movies like well-known ones."""

from __future__ import annotations

import numpy as np

from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.inference.recommend_one import Answer, for_user, like_movie
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource
from gnnrec.reporting.content import Entry, MovieLists, Section
from gnnrec.reporting.movie_map import most_rated

#: Movies in a list, and movies whose like are shown.
_LISTED, _WELL_KNOWN = 8, 6
#: Ratings that a similar movie has at least, where enough movies have as many: vectors of rare movies say little.
_FEWEST_RATINGS = 10


def recommendations(source: VectorSource, users: int) -> Section | None:
    """What some users liked best, and what they would be recommended.

    Args:
        source: The vectors.
        users: How many users.
    """
    catalogue, row_of = source.catalogue, _rows_by_id(source.catalogue)
    items = []
    for row in spread_users(np.diff(catalogue.ratings.user_ptr), users):
        identity = str(catalogue.users[row].as_py())
        answer = for_user(source, RecommendOptions(user=identity, top=_LISTED))
        rated = catalogue.rated(row)
        by_title = {catalogue.titles[movie]: movie for movie in rated}
        liked = [
            Entry(title, _genres(catalogue, by_title[title]), f"{rating:g}")
            for title, rating in catalogue.favourites(row, _LISTED)
        ]
        lists = [("Liked best", liked), ("Recommended", _entries(answer, catalogue, row_of))]
        items.append(MovieLists(f"User {identity} · {len(rated):,} ratings", lists))
    if not items:
        return None
    what = "predicted rating" if source.scoring.scale else "score, of which only the order matters"
    text = (
        f"A few users, from those with few ratings to those with many. Left: their highest ratings. Right: the movies "
        f"that they have not rated with the highest {what}."
    )
    return Section("recommendations", "Recommendations", text, items)


def similar_movies(source: VectorSource) -> Section | None:
    """The movies whose vectors are nearest to those of well-known ones."""
    catalogue, row_of = source.catalogue, _rows_by_id(source.catalogue)
    fewest = _FEWEST_RATINGS if (catalogue.counts >= _FEWEST_RATINGS).sum() > 5 * _LISTED else 0
    lists = []
    for row in most_rated(catalogue, _WELL_KNOWN):
        identity = str(catalogue.movies[int(row)].as_py())
        answer = like_movie(source, RecommendOptions(similar_to=identity, top=_LISTED, min_ratings=fewest))
        lists.append((catalogue.titles[row], _entries(answer, catalogue, row_of)))
    if not lists:
        return None
    text = "The movies most like those that were rated most often, by the cosine of their vectors"
    text += f", among those with {fewest} ratings or more." if fewest else "."
    return Section("similar", "Similar movies", text, [MovieLists("", lists)])


def spread_users(ratings: np.ndarray, count: int) -> list[int]:
    """Rows of users from little to much activity, evenly by rank; those at the very ends are not typical of anybody.

    Args:
        ratings: Ratings of each user, ``[users]``.
        count: Users to choose, at most.
    """
    order = np.argsort(ratings, kind="stable")
    order = order[ratings[order] > 0]
    places = (np.arange(count) + 0.5) / max(count, 1) * len(order)
    return [int(order[place]) for place in dict.fromkeys(places.astype(int)) if place < len(order)]


def _rows_by_id(catalogue: MovieCatalog) -> dict:
    return {identity: row for row, identity in enumerate(catalogue.movies.to_pylist())}


def _genres(catalogue: MovieCatalog, row: int) -> str:
    return ", ".join(catalogue.genres[row][:3])


def _entries(answer: Answer, catalogue: MovieCatalog, row_of: dict) -> list[Entry]:
    digits = 3 if answer.name == "score" else 2
    return [
        Entry(title, _genres(catalogue, row_of[movie]), f"{score:.{digits}f}")
        for movie, title, score in zip(answer.movies, answer.titles, answer.scores)
    ]
