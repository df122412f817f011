"""Baselines of rating models, by name."""

from __future__ import annotations

from gnnrec.baselines.autorec import AUTOREC
from gnnrec.baselines.baseline import Baseline, fit_best
from gnnrec.baselines.biased_mf import BIASED_MF, QUICK_MF
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


def fit_baselines(
    dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int
) -> dict[str, dict[str, float]]:
    """Test RMSE and MAE of the quick baselines, tuned on validation (see :func:`fit_best`).

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        splits: Splits to fit on.
        seed: Seed of the initial factors.

    Returns:
        Name -> ``test_rmse``, ``test_mae`` and the chosen setting, such as the ``dim`` of biased MF.
    """
    rows = {}
    for baseline in QUICK:
        chosen = fit_best(baseline, dataset, world, splits, seed)
        test = chosen.fitted.metrics(TEST)
        rows[baseline.name] = {f"test_{name}": value for name, value in test.figures().items()} | chosen.setting
    return rows
