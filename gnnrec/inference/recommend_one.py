"""Movies for one user, and movies similar to a movie."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.inference.list_order import list_order
from gnnrec.inference.movie_catalog import find_movie
from gnnrec.inference.movie_ranker import MovieRanker, similar_rows, user_lists
from gnnrec.inference.new_share import new_places
from gnnrec.inference.reasons.explain import Names, Reasons, explain
from gnnrec.inference.recommend_filters import allowed_movies
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource

#: Number of favorite movies printed above recommendations.
_FAVORITES = 3


@dataclasses.dataclass(frozen=True)
class RankedMovies:
    """Movies with scores, best first.

    Attributes:
        heading: Lines above the list.
        movies: Raw ids.
        titles: Titles.
        scores: float32.
        name: Kind of score: ``rating``, ``interest``, ``score`` or ``similarity``.
        ratings: Predicted ratings, float32; None if the scores are ratings, or there are none.
        reasons: The parts of each score; None if they are not wanted.
        names: Ids and titles of all movies, for reasons.
        why: Ratings to name among the reasons.
    """

    heading: list[str]
    movies: list
    titles: list[str]
    scores: np.ndarray
    name: str
    ratings: np.ndarray | None = None
    reasons: list[Reasons] | None = None
    names: Names | None = None
    why: int = 0

    def lines(self) -> list[str]:
        """Formats the heading and the list, one line per entry."""
        digits = 2 if self.name == "rating" else 4
        ratings = [""] * len(self.titles) if self.ratings is None else [f"  {rating:.2f}" for rating in self.ratings]
        lines = list(self.heading)
        for place, (score, rating, title) in enumerate(zip(self.scores, ratings, self.titles)):
            lines.append(f"{place + 1:4}  {score:.{digits}f}{rating}  {title}")
            if self.reasons is not None and self.names is not None:
                lines += [f"        {line}" for line in self.reasons[place].lines(self.names, self.why)]
        return lines

    def why_dicts(self) -> list[dict]:
        """Returns the parts of each score (:meth:`gnnrec.inference.reasons.explain.Reasons.as_dict`)."""
        assert self.reasons is not None and self.names is not None
        return [reasons.as_dict(self.names, self.why) for reasons in self.reasons]


def recommend_one(source: VectorSource, options: RecommendOptions) -> RankedMovies:
    """Returns movies for ``options.user``, or similar to ``options.similar_to`` if there is no user."""
    return find_similar(source, options) if options.user is None else recommend_to_user(source, options)


def recommend_to_user(source: VectorSource, options: RecommendOptions) -> RankedMovies:
    """Returns the movies with the highest scores among those that the user has not rated.

    Args:
        source: The vectors.
        options: ``user``, ``top``, ``order_by``, ``why`` and filters.
    """
    catalog, order = source.catalog, list_order(source.scoring, options.order_by)
    row = source.find(options.user)
    user = source.block(range(row, row + 1))
    allowed = allowed_movies(source, options)
    candidates = np.ones(len(catalog.titles), dtype=bool) if allowed is None else allowed.copy()
    candidates[catalog.rated(row)] = False
    places = new_places(options.new_share, options.top)
    new = None if places is None else (source.cold, places)
    chosen, best, ratings = user_lists(MovieRanker(order), user, candidates, options.top, new)
    favorites = [f"{title} ({rating:g})" for title, rating in catalog.favorites(row, _FAVORITES)]
    heading = [f"for user {options.user}"]
    if favorites:
        heading.append(f"who rated highest: {'; '.join(favorites)}")
    if ratings is not None:
        heading.append(f"rank, {order.name}, predicted rating, title")
    ranked = _ranked(source, heading, best[0], chosen[0], order.name, None if ratings is None else ratings[0])
    if not options.why:
        return ranked
    reasons = explain(order, user, source.user_parts(row), best[0])
    return dataclasses.replace(ranked, reasons=reasons, names=catalog, why=options.why)


def find_similar(source: VectorSource, options: RecommendOptions) -> RankedMovies:
    """Returns the movies whose vectors have the highest cosine similarity with that of a movie.

    Args:
        source: The vectors.
        options: ``similar_to``, ``top`` and filters.
    """
    catalog, vectors = source.catalog, source.scoring.own().movies
    row = find_movie(catalog, options.similar_to)
    allowed = allowed_movies(source, options)
    candidates = np.ones(len(vectors), dtype=bool) if allowed is None else allowed.copy()
    candidates[row] = False
    lengths = np.linalg.norm(vectors, axis=1)
    best, cosines = similar_rows(vectors, lengths, row, candidates, options.top)
    return _ranked(source, [f"like {catalog.titles[row]}"], best, cosines, "similarity")


def _ranked(
    source: VectorSource,
    heading: list[str],
    rows: np.ndarray,
    scores: np.ndarray,
    name: str,
    ratings: np.ndarray | None = None,
) -> RankedMovies:
    catalog = source.catalog
    movies = [catalog.movies[row].as_py() for row in rows.tolist()]
    return RankedMovies(heading, movies, [catalog.titles[row] for row in rows], scores, name, ratings)
