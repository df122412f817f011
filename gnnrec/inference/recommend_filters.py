"""Which movies may be recommended."""

from __future__ import annotations

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.inference.recommend_options import RecommendOptions


def allowed_movies(catalogue: MovieCatalog, options: RecommendOptions) -> np.ndarray | None:
    """Movies that pass all filters, bool ``[movies]``; None without filters.

    Raises:
        UserError: A filter that the data knows nothing about, or that nothing passes.
    """
    filters = []
    if options.genre:
        filters.append(_of_genres(catalogue, options.genre))
    if options.min_year is not None or options.max_year is not None:
        filters.append(_of_years(catalogue, options.min_year, options.max_year))
    if options.min_ratings:
        filters.append(catalogue.counts >= options.min_ratings)
    if not filters:
        return None
    allowed = np.logical_and.reduce(filters)
    if not allowed.any():
        raise UserError(f"no movie of {catalogue.place} passes {describe(options)}: ask for less")
    return allowed


def describe(options: RecommendOptions) -> str:
    """The filters, as they are typed."""
    words = ["--genre", *options.genre] if options.genre else []
    for name in ("min_year", "max_year"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    words += ["--min-ratings", str(options.min_ratings)] if options.min_ratings else []
    return " ".join(words)


def _of_genres(catalogue: MovieCatalog, wanted: list[str]) -> np.ndarray:
    known = {name.casefold(): name for genres in catalogue.genres for name in genres}
    if not known:
        raise UserError(
            f"--genre {wanted[0]}: {catalogue.place} knows no genres: prepare it with --movies, a file that has them"
        )
    missing = [name for name in wanted if name.casefold() not in known]
    if missing:
        raise UserError(f"--genre {missing[0]}: no movie has it; genres are {', '.join(sorted(known.values()))}")
    chosen = {name.casefold() for name in wanted}
    return np.array([any(name.casefold() in chosen for name in genres) for genres in catalogue.genres])


def _of_years(catalogue: MovieCatalog, first: int | None, last: int | None) -> np.ndarray:
    years = catalogue.years
    if not (years >= 0).any():
        option = f"--max-year {last}" if first is None else f"--min-year {first}"
        raise UserError(f"{option}: no title of {catalogue.place} ends with a year, such as (1995)")
    allowed = years >= max(first or 0, 0)
    return allowed if last is None else allowed & (years <= last)
