"""Baselines of ranking models, by name."""

from __future__ import annotations

from gnnrec.baselines.baseline import Baseline, fit_best
from gnnrec.baselines.ease import EASE
from gnnrec.baselines.implicit_als import IMPLICIT_ALS
from gnnrec.baselines.popularity import POPULARITY
from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.distributed.world import World

#: Name -> baseline, the simplest first.
RANKING_BASELINES: dict[str, Baseline] = {baseline.name: baseline for baseline in (POPULARITY, EASE, IMPLICIT_ALS)}
#: Most movies with which EASE is in the summary of every run: it inverts a dense matrix once for every setting.
MOST_MOVIES_FOR_EASE = 10_000


def fit_baselines(
    dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int
) -> dict[str, dict[str, float | None]]:
    """Test metrics of popularity and, for few movies, of EASE, tuned on validation (see :func:`fit_best`).

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        splits: Splits to fit on.
        seed: Seed of the fits.

    Returns:
        Name -> ``test_`` metrics and the chosen setting.
    """
    baselines = [POPULARITY, EASE]
    if dataset.num_movies > MOST_MOVIES_FOR_EASE:
        world.log(f"EASE is left out: {dataset.num_movies:,} movies, more than {MOST_MOVIES_FOR_EASE:,}")
        baselines.remove(EASE)
    rows = {}
    for baseline in baselines:
        chosen = fit_best(baseline, dataset, world, splits, seed)
        figures = chosen.fitted.metrics(TEST).figures()
        rows[baseline.name] = {f"test_{name}": value for name, value in figures.items()} | chosen.setting
    return rows
