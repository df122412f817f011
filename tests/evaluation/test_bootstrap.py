"""Sums of single users and intervals of differences, against scikit-learn and SciPy's bootstrap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from gnnrec.data.rating_unit import RatingUnit
from gnnrec.distributed.world import World
from gnnrec.evaluation import bootstrap
from gnnrec.evaluation.bootstrap import paired_differences
from gnnrec.evaluation.ranking import evaluate_ranking
from gnnrec.evaluation.rating import rating_metrics
from gnnrec.evaluation.user_sums import UserSums
from gnnrec.graph.interactions import Interactions
from gnnrec.kernels.ragged import offsets
from tests.distributed.ranks import run_on_ranks

UNIT = RatingUnit(3.0, 0.5, (0.5, 5.0))


def rated(users: int = 60, noise: float = 1.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Predictions and ratings of users with 0 to 12 ratings, in the unit of the data, and pointers."""
    rng = np.random.default_rng(0)
    pointer = np.concatenate([[0], rng.integers(0, 13, users).cumsum()])
    rating = rng.integers(1, 11, pointer[-1]) / 2
    predicted = rating + noise * np.random.default_rng(seed + 1).normal(size=len(rating))
    return torch.from_numpy(predicted), torch.from_numpy(rating), pointer


def sums_of(predicted: torch.Tensor, rating: torch.Tensor, pointer: np.ndarray, world: World | None = None) -> UserSums:
    standardized = (predicted - 3) / 0.5, (rating - 3) / 0.5
    without_time = standardized[0] + 0.1
    metrics = rating_metrics(*standardized, UNIT, world or World(), without_time, torch.from_numpy(pointer))
    return metrics.by_user


def test_sums_of_drawn_users_give_the_metrics_of_their_ratings():
    predicted, rating, pointer = rated()
    sums = sums_of(predicted, rating, pointer)
    assert sums.user.tolist() == np.flatnonzero(np.diff(pointer)).tolist() and len(sums.user) < 60
    drawn = np.random.default_rng(5).integers(0, len(sums.user), 40)
    chosen = np.concatenate([np.arange(pointer[user], pointer[user + 1]) for user in sums.user[drawn]])
    found = sums.metrics(np.bincount(drawn, minlength=len(sums.user)).astype(float))
    own, clipped = rating.numpy()[chosen], predicted.clamp(0.5, 5).numpy()[chosen]
    without = (predicted + 0.05).clamp(0.5, 5).numpy()[chosen]
    assert found["rmse"] == pytest.approx(root_mean_squared_error(own, clipped), rel=1e-12)
    assert found["mae"] == pytest.approx(mean_absolute_error(own, clipped), rel=1e-12)
    assert found["rmse_without_time"] == pytest.approx(root_mean_squared_error(own, without), rel=1e-12)
    assert found["mae_without_time"] == pytest.approx(mean_absolute_error(own, without), rel=1e-12)


def test_sums_of_rankings_have_the_figures_of_single_users():
    generator = torch.Generator().manual_seed(0)
    scores, wanted = torch.rand(9, 40, generator=generator), torch.rand(9, 40, generator=generator) < 0.1
    wanted[4] = False

    def interactions(chosen: torch.Tensor) -> Interactions:
        movie = chosen.nonzero()[:, 1].int()
        return Interactions(offsets(chosen.sum(1)), movie, torch.ones(len(movie)), torch.arange(len(movie)))

    def measured(users: torch.Tensor):
        chosen = torch.zeros_like(wanted)
        chosen[users] = wanted[users]
        nothing = interactions(torch.zeros_like(wanted))
        return evaluate_ranking(scores.__getitem__, nothing, interactions(chosen), World(), 40, chunk=2)

    whole = measured(torch.arange(9))
    assert 4 not in whole.by_user.user and len(whole.by_user.user) >= 6
    for place, user in enumerate(whole.by_user.user):
        single = measured(torch.tensor([int(user)])).figures()
        for name, values in whole.by_user.sums.items():
            assert values[place] == pytest.approx(single[name], rel=1e-12)
    for name, value in whole.by_user.metrics(np.ones(len(whole.by_user.user))).items():
        assert value == pytest.approx(whole.figures()[name], rel=1e-12)


def on_ranks(world: World) -> tuple[UserSums, list[float]]:
    predicted, rating, pointer = rated()
    first, last = (0, 25, 60)[world.rank], (25, 60)[world.rank]
    if world.size == 1:
        first, last = 0, 60
    own = slice(pointer[first], pointer[last])
    sums = sums_of(predicted[own], rating[own], pointer[first : last + 1] - pointer[first], world)
    return sums.gathered(first, world)


@pytest.mark.slow
def test_ranks_have_the_sums_of_one():
    (expected,) = run_on_ranks(1, on_ranks)
    for found in run_on_ranks(2, on_ranks):
        assert found.user.tolist() == expected.user.tolist() and found.count.tolist() == expected.count.tolist()
        for name, values in expected.sums.items():
            np.testing.assert_allclose(found.sums[name], values, rtol=1e-12)


def test_intervals_of_rmse_are_those_of_a_bootstrap_by_scipy():
    pair = [sums_of(*rated(200, noise, seed)) for seed, noise in enumerate((1.0, 1.2))]
    found = paired_differences(pair[:1], pair[1:], resamples=4000)["rmse"]
    columns = [sums.sums["rmse"] for sums in pair]

    def difference(count, one, two, axis):
        return np.sqrt(one.sum(axis) / count.sum(axis)) - np.sqrt(two.sum(axis) / count.sum(axis))

    expected = scipy.stats.bootstrap(
        (pair[0].count, *columns), difference, paired=True, vectorized=True, n_resamples=4000, method="percentile",
        random_state=7,
    ).confidence_interval  # fmt: skip
    width = expected.high - expected.low
    assert found.value == pytest.approx(difference(pair[0].count, *columns, axis=0), rel=1e-12)
    assert found.low == pytest.approx(expected.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.high, abs=0.06 * width)
    assert found.is_clear and found.high < 0


def test_equal_models_do_not_differ_and_pairs_have_narrower_intervals():
    one = sums_of(*rated(150))
    assert paired_differences([one], [one])["mae"] == bootstrap.Difference(
        *2 * [float(one.metrics(np.ones(len(one.user)))["mae"])], 0.0, 0.0
    )
    predicted, rating, pointer = rated(150)
    near = sums_of(predicted + 0.02, rating, pointer)
    shuffled = UserSums(one.user, one.count[::-1], {name: values[::-1] for name, values in near.sums.items()})
    paired, unpaired = (paired_differences([one], [other])["mae"] for other in (near, shuffled))
    assert paired.high - paired.low < 0.3 * (unpaired.high - unpaired.low)


def test_seeds_repeat_samples_and_chunks_do_not_change_them(monkeypatch):
    pair = [sums_of(*rated(80, seed=seed)) for seed in (0, 1)]
    found = paired_differences(pair[:1], pair[1:], seed=3)
    assert found == paired_differences(pair[:1], pair[1:], seed=3)
    assert found != paired_differences(pair[:1], pair[1:], seed=4)
    monkeypatch.setattr(bootstrap, "_WEIGHTS", 500)
    for name, row in paired_differences(pair[:1], pair[1:], seed=3).items():
        assert (row.low, row.high) == pytest.approx((found[name].low, found[name].high), rel=1e-9)


def test_metrics_of_several_fits_are_averaged():
    fits = [sums_of(*rated(80, seed=seed)) for seed in range(3)]
    other = sums_of(*rated(80, noise=2.0, seed=9))
    found = paired_differences(fits, [other])["rmse"]
    single = [float(sums.metrics(np.ones(len(sums.user)))["rmse"]) for sums in fits]
    assert found.first == pytest.approx(np.mean(single), rel=1e-12) and found.low < found.value < found.high


def test_other_users_are_refused():
    one, other = sums_of(*rated(80)), sums_of(*rated(70))
    with pytest.raises(ValueError, match="different users"):
        paired_differences([one], [other])


def test_sums_are_restored_from_files(tmp_path: Path):
    sums = sums_of(*rated())
    sums.save(tmp_path / "sums.npz")
    again = UserSums.read(tmp_path / "sums.npz")
    assert again.user.tolist() == sums.user.tolist() and again.count.tolist() == sums.count.tolist()
    assert {name: values.tolist() for name, values in again.sums.items()} == {
        name: values.tolist() for name, values in sums.sums.items()
    }
