"""Recommendations as a table, from the functions that ``gnnrec recommend`` calls."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gnnrec.distributed.world import World
from gnnrec.inference.open_source import open_source
from gnnrec.inference.recommend_all import write_recommendations
from gnnrec.inference.recommend_one import recommend_one
from gnnrec.inference.recommend_options import RecommendOptions


def recommend(path: Path, options: RecommendOptions) -> pd.DataFrame:
    """Returns ``rank``, ``movie``, ``title``, ``rating``, ``interest``, ``score`` or ``similarity``, and ratings."""
    options.check()
    ranked = recommend_one(open_source(path, options), options)
    ranks = range(1, len(ranked.titles) + 1)
    table = pd.DataFrame({"rank": ranks, "movie": ranked.movies, "title": ranked.titles, ranked.name: ranked.scores})
    return table if ranked.ratings is None else table.assign(rating=ranked.ratings)


def recommend_all(path: Path, options: RecommendOptions, world: World) -> dict:
    """Writes recommendations for all users; returns the manifest."""
    options.check()
    return write_recommendations(open_source(path, options, world), options, world)
