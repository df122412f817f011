"""Filters of the movies that may be recommended."""

from __future__ import annotations

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource
from gnnrec.utils.option_names import dashed


def allowed_movies(source: VectorSource, options: RecommendOptions) -> np.ndarray | None:
    """Returns the movies that pass all filters, bool ``[movies]``; None if nothing is filtered.

    Movies that the model was trained without ratings of pass with ``options.new_movies`` alone.

    Raises:
        UserError: The data lacks what a filter needs, or no movie passes.
    """
    catalog, filters = source.catalog, []
    if not options.new_movies and source.cold.any():
        filters.append(~source.cold)
    if options.genre:
        filters.append(_genre_filter(catalog, options.genre))
    if options.min_year is not None or options.max_year is not None:
        filters.append(_year_filter(catalog, options.min_year, options.max_year))
    if options.min_ratings:
        filters.append(catalog.counts >= options.min_ratings)
    if not filters:
        return None
    allowed = np.logical_and.reduce(filters)
    if not allowed.any():
        raise UserError(f"no movie in {catalog.place} passes {describe(options)}: relax these filters")
    return allowed


def describe(options: RecommendOptions) -> str:
    """Formats the filters as command-line options."""
    words = ["--genre", *options.genre] if options.genre else []
    for name in ("min_year", "max_year"):
        value = getattr(options, name)
        words += [] if value is None else [dashed(name), str(value)]
    words += ["--min-ratings", str(options.min_ratings)] if options.min_ratings else []
    words += ["--new-movies"] if options.new_movies else []
    words += [] if options.new_share is None else ["--new-share", f"{options.new_share:g}"]
    return " ".join(words)


def _genre_filter(catalog: MovieCatalog, wanted: list[str]) -> np.ndarray:
    known = {name.casefold(): name for genres in catalog.genres for name in genres}
    if not known:
        raise UserError(
            f"--genre {wanted[0]}: {catalog.place} has no genres: prepare it with --movies, a file with genres"
        )
    missing = [name for name in wanted if name.casefold() not in known]
    if missing:
        raise UserError(f"--genre {missing[0]}: no movie has it; choose among {', '.join(sorted(known.values()))}")
    chosen = {name.casefold() for name in wanted}
    return np.array([any(name.casefold() in chosen for name in genres) for genres in catalog.genres])


def _year_filter(catalog: MovieCatalog, first: int | None, last: int | None) -> np.ndarray:
    years = catalog.years
    if not (years >= 0).any():
        option = f"--max-year {last}" if first is None else f"--min-year {first}"
        raise UserError(f"{option}: no title in {catalog.place} ends with a year, such as (1995)")
    allowed = years >= max(first or 0, 0)
    return allowed if last is None else allowed & (years <= last)
