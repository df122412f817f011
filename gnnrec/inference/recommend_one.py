"""Movies for one user, and movies like another one."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.inference.movie_catalog import find_movie
from gnnrec.inference.recommend_filters import allowed_movies
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource

#: Movies that a user rated highest, as they are printed.
_FAVOURITES = 3


@dataclasses.dataclass(frozen=True)
class Answer:
    """Movies, best first.

    Attributes:
        heading: Lines above the list.
        movies: Raw ids.
        titles: Titles.
        scores: float32.
        name: What a score is: ``rating``, ``score`` or ``similarity``.
    """

    heading: list[str]
    movies: list
    titles: list[str]
    scores: np.ndarray
    name: str

    def lines(self) -> list[str]:
        """The list as text."""
        digits = 2 if self.name == "rating" else 4
        numbered = enumerate(zip(self.scores, self.titles), 1)
        return self.heading + [f"{rank:4}  {score:.{digits}f}  {title}" for rank, (score, title) in numbered]


def for_user(source: VectorSource, options: RecommendOptions) -> Answer:
    """The movies with the highest scores among those that the user has not rated.

    Args:
        source: The vectors.
        options: ``user``, ``top`` and filters.
    """
    catalogue, scoring = source.catalogue, source.scoring
    row = source.find(options.user)
    user = source.block(range(row, row + 1))
    allowed = allowed_movies(catalogue, options)
    left = np.ones(len(scoring.bias), dtype=bool) if allowed is None else allowed.copy()
    left[catalogue.rated(row)] = False
    scores = scoring.scores(user.vectors[0])
    best = _highest(scores, left, options.top)
    favourites = [f"{title} ({rating:g})" for title, rating in catalogue.favourites(row, _FAVOURITES)]
    heading = [f"for user {options.user}"]
    if favourites:
        heading.append(f"who rated highest: {'; '.join(favourites)}")
    return _answer(source, heading, best, scoring.shown(scores[best], user.bias[0]), scoring.name)


def like_movie(source: VectorSource, options: RecommendOptions) -> Answer:
    """The movies whose vectors have the highest cosine with that of a movie.

    Args:
        source: The vectors.
        options: ``similar_to``, ``top`` and filters.
    """
    catalogue, vectors = source.catalogue, source.scoring.movies
    row = find_movie(catalogue, options.similar_to)
    allowed = allowed_movies(catalogue, options)
    left = np.ones(len(vectors), dtype=bool) if allowed is None else allowed.copy()
    left[row] = False
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors[row] / np.maximum(lengths * lengths[row], np.finfo(np.float32).tiny)
    best = _highest(cosines, left, options.top)
    return _answer(source, [f"like {catalogue.titles[row]}"], best, cosines[best], "similarity")


def _highest(scores: np.ndarray, left: np.ndarray, count: int) -> np.ndarray:
    """Rows of the highest scores, best first; of equal ones the lower row is first."""
    rows = np.flatnonzero(left)
    return rows[np.argsort(-scores[rows], kind="stable")[:count]]


def _answer(source: VectorSource, heading: list[str], rows: np.ndarray, scores: np.ndarray, name: str) -> Answer:
    catalogue = source.catalogue
    movies = [catalogue.movies[row].as_py() for row in rows.tolist()]
    return Answer(heading, movies, [catalogue.titles[row] for row in rows], scores, name)
