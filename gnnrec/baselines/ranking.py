"""Baselines of ranking models, by name."""

from __future__ import annotations

from gnnrec.baselines.baseline import Baseline, fit_best
from gnnrec.baselines.ease import EASE
from gnnrec.baselines.feature_rankings import FEATURE_RANKINGS
from gnnrec.baselines.implicit_als import IMPLICIT_ALS
from gnnrec.baselines.item_knn import ITEM_KNN
from gnnrec.baselines.popularity import POPULARITY, RECENT_POPULARITY
from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.distributed.world import World

#: Name -> baseline, the simplest first.
RANKING_BASELINES: dict[str, Baseline] = {
    baseline.name: baseline for baseline in (POPULARITY, RECENT_POPULARITY, ITEM_KNN, EASE, IMPLICIT_ALS)
}
#: Most movies with which item-kNN and EASE are in the summary of every run: they have a dense matrix over pairs of
#: movies for every setting.
MOST_MOVIES_FOR_PAIRS = 10_000


def fit_baselines(
    dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, count_confidence: float = 0.0
) -> dict[str, dict[str, float | None]]:
    """Test metrics of baselines that are tuned on validation (see :func:`fit_best`).

    Popularity, where there are times that of the last days, and for few movies item-kNN and EASE, and those from
    features where movies have features.

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        splits: Splits to fit on.
        seed: Seed of the fits.
        count_confidence: Strength of the weights by counts, where a baseline has them.

    Returns:
        Name -> ``test_`` metrics and the chosen setting.
    """
    baselines = [POPULARITY] if dataset.timestamp is None else [POPULARITY, RECENT_POPULARITY]
    if dataset.num_movies <= MOST_MOVIES_FOR_PAIRS:
        baselines += [ITEM_KNN, EASE, *(ranking.baseline() for ranking in FEATURE_RANKINGS if ranking.suits(dataset))]
    else:
        world.log(f"item kNN and EASE are left out: {dataset.num_movies:,} movies, more than {MOST_MOVIES_FOR_PAIRS:,}")
    rows = {}
    for baseline in baselines:
        chosen = fit_best(baseline.with_count_confidence(count_confidence), dataset, world, splits, seed)
        figures = chosen.fitted.metrics(TEST).figures()
        rows[baseline.name] = {f"test_{name}": value for name, value in figures.items()} | chosen.setting
    return rows
