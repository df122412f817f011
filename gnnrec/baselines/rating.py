"""Baselines of rating models, by name."""

from __future__ import annotations

from gnnrec.baselines.autorec import AUTOREC
from gnnrec.baselines.baseline import Baseline, fit_best
from gnnrec.baselines.biased_mf import BIASED_MF, QUICK_MF
from gnnrec.baselines.feature_ratings import FEATURE_RATINGS
from gnnrec.baselines.means import BIASES, GLOBAL_MEAN
from gnnrec.baselines.svdpp import SVDPP
from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.distributed.world import World

#: Name -> baseline, the simplest first.
RATING_BASELINES: dict[str, Baseline] = {
    baseline.name: baseline for baseline in (GLOBAL_MEAN, BIASES, BIASED_MF, SVDPP, AUTOREC)
}
#: Baselines that are quick enough for the summary of every run.
QUICK = (GLOBAL_MEAN, BIASES, QUICK_MF)
#: Most users and movies with which baselines from features are in the summary of every run: kNN has a dense matrix over
#: pairs of movies, and the ridge equations for each user.
MOST_USERS, MOST_MOVIES = 20_000, 10_000


def fit_baselines(
    dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int
) -> dict[str, dict[str, float]]:
    """Test RMSE and MAE of the quick baselines, tuned on validation (see :func:`fit_best`).

    Where movies have features, these are :data:`QUICK` and, for few users and movies, those from features.

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        splits: Splits to fit on.
        seed: Seed of the initial factors.

    Returns:
        Name -> ``test_rmse``, ``test_mae`` and the chosen setting, such as the ``dim`` of biased MF.
    """
    rows = {}
    for baseline in (*QUICK, *_from_features(dataset, world)):
        chosen = fit_best(baseline, dataset, world, splits, seed)
        test = chosen.fitted.metrics(TEST)
        rows[baseline.name] = {f"test_{name}": value for name, value in test.figures().items()} | chosen.setting
    return rows


def _from_features(dataset: PreparedDataset, world: World) -> list[Baseline]:
    suiting = [baseline for baseline in FEATURE_RATINGS if baseline.suits is None or baseline.suits(dataset)]
    if suiting and (dataset.num_users > MOST_USERS or dataset.num_movies > MOST_MOVIES):
        names = " and ".join(f"'{baseline.name}'" for baseline in suiting)
        world.log(f"{names} are left out: more than {MOST_USERS:,} users or {MOST_MOVIES:,} movies")
        return []
    return suiting
