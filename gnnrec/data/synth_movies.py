"""Synthetic movies for :mod:`gnnrec.data.synth`: ids with gaps, titles with a year, genres."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# MovieLens' eighteen genres and their approximate numbers of movies in MovieLens 20M.
GENRES = {
    "Action": 3520, "Adventure": 2329, "Animation": 1027, "Children": 1139, "Comedy": 8374, "Crime": 2939,
    "Documentary": 2471, "Drama": 13344, "Fantasy": 1412, "Film-Noir": 330, "Horror": 2611, "Musical": 1036,
    "Mystery": 1514, "Romance": 4127, "Sci-Fi": 1743, "Thriller": 4178, "War": 1194, "Western": 676,
}  # fmt: skip

_SHARE_OF_GENRE_COUNTS = [0.38, 0.34, 0.20, 0.08]  # movies with 1, 2, 3, 4 genres
_WITHOUT_GENRES = 0.009  # "(no genres listed)" is part of the format
_FIRST_YEAR, _LAST_YEAR = 1915, 1994  # all before the first rating
_MEAN_ID_GAP = 5  # MovieLens 20M: 26,744 movies with ids up to 131,262

_ADJECTIVES = (
    "Silent Broken Golden Hidden Last Lost Crimson Distant Burning Frozen Wild Quiet Secret Fallen Empty Second Final "
    "Bitter Gentle Savage Northern Hollow Shining Restless Forgotten Midnight Wandering Iron Paper Velvet Electric "
    "Long Blue Invisible Reluctant Perfect Crooked Drifting Stolen Noble"
).split()
_NOUNS = (
    "Harbor River Garden Mountain City Winter Summer Road House Island Letter Mirror Promise Shadow Storm Stranger "
    "Soldier Dancer Thief Detective Captain Orchard Lighthouse Carnival Kingdom Forest Desert Bridge Train Station "
    "Window Clock Song Crown Empire Machine Circus Château Café Señor Neighbor Voyage Valley Frontier Witness"
).split()
_PLACES = "Paris Vienna Nevada Cairo Lisbon Harlem Siberia Havana Dublin Bombay Kyoto Marseille Texas Malmö".split()
_PATTERNS = [  # MovieLens moves a leading article to the end, so some titles contain a comma
    "{adjective} {noun}, The",
    "{adjective} {noun}",
    "{noun} of {rank}, The",
    "{noun} and the {other}, A",
    "{rank}, {place2} and the {noun}",
    "My {adjective} {noun}",
    "{adjective} {noun} in {rank}",
    'Return of "{noun}", The',
]
_SHARE_OF_PATTERNS = [0.30, 0.25, 0.14, 0.08, 0.05, 0.07, 0.10, 0.01]


@dataclass
class SyntheticMovies:
    """Movies by row.

    Args:
        ids: Raw movie ids, ascending, with gaps.
        titles: ``Silent Harbor, The (1962)``.
        genres: Boolean ``[movies, 18]``, columns in the order of :data:`GENRES`.
    """

    ids: np.ndarray
    titles: list[str]
    genres: np.ndarray

    def write(self, path: Path) -> None:
        """Writes ``movieId,title,genres``, quoted where necessary."""
        names = np.array(list(GENRES))
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["movieId", "title", "genres"])
            for movie, title, row in zip(self.ids.tolist(), self.titles, self.genres):
                writer.writerow([movie, title, "|".join(names[row]) or "(no genres listed)"])


def draw_movies(movies: int, generator: np.random.Generator) -> SyntheticMovies:
    """Draws ``movies`` movies."""
    ids = np.cumsum(generator.integers(1, 2 * _MEAN_ID_GAP, movies))
    # The `count` largest of log(weight) + Gumbel noise are a weighted sample of `count` genres without replacement.
    keys = np.log(np.array(list(GENRES.values()))) + generator.gumbel(size=(movies, len(GENRES)))
    rank = np.argsort(np.argsort(-keys, axis=1), axis=1)
    counts = generator.choice(len(_SHARE_OF_GENRE_COUNTS), movies, p=_SHARE_OF_GENRE_COUNTS) + 1
    counts[generator.random(movies) < _WITHOUT_GENRES] = 0
    years = _LAST_YEAR - (generator.beta(1.0, 3.0, movies) * (_LAST_YEAR - _FIRST_YEAR + 1)).astype(int)
    patterns = generator.choice(len(_PATTERNS), movies, p=_SHARE_OF_PATTERNS)
    words = generator.integers(0, 1 << 30, (movies, 5)).tolist()
    titles = [
        _PATTERNS[pattern].format(
            adjective=_ADJECTIVES[a % len(_ADJECTIVES)],
            noun=_NOUNS[b % len(_NOUNS)],
            other=_NOUNS[c % len(_NOUNS)],
            rank=_PLACES[d % len(_PLACES)],
            place2=_PLACES[e % len(_PLACES)],
        )
        + f" ({year})"
        for pattern, year, (a, b, c, d, e) in zip(patterns.tolist(), years.tolist(), words)
    ]
    return SyntheticMovies(ids, titles, rank < counts[:, None])
