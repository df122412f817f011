"""Counter-based random numbers: published bits, uniform, independent, and functions of the key and counter alone."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from gnnrec import rng

#: Lowest acceptable p-value; the tests are deterministic, so they never fail by chance.
SUSPICIOUS = 1e-4
DRAWS = 200_000

# The first outputs of the published generator from seed 1234567.
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def split_mix_64(state: int) -> int:
    """Computes the published finalizer with integers of any size."""
    mask = (1 << 64) - 1
    z = state & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def unsigned(values: torch.Tensor) -> list[int]:
    return [value % (1 << 64) for value in values.flatten().tolist()]


def chi_square_p(values: torch.Tensor, below: int) -> float:
    return scipy.stats.chisquare(np.bincount(values.numpy(), minlength=below)).pvalue


def independent_p(a: torch.Tensor, b: torch.Tensor, below: int) -> float:
    table = np.bincount((a * below + b).numpy(), minlength=below * below).reshape(below, below)
    return scipy.stats.chi2_contingency(table).pvalue


def test_bits_equal_the_published_ones():
    assert unsigned(rng.bits(1234567, torch.arange(1, 6))) == PUBLISHED


@pytest.mark.parametrize("stream", [0, 1, -1, 2**63 - 1, -(2**63), rng.key(3, "fold", 7)])
def test_bits_equal_integers_of_any_size(stream):
    counters = torch.tensor([0, 1, 2, -1, -17, 2**31, 2**62, 2**63 - 1, -(2**63)])
    expected = [split_mix_64(stream + counter * 0x9E3779B97F4A7C15) for counter in counters.tolist()]
    assert unsigned(rng.bits(stream, counters)) == expected


def test_counters_are_not_changed_and_may_be_of_any_integer_type():
    counters = torch.arange(100)
    drawn = rng.bits(5, counters)
    assert torch.equal(counters, torch.arange(100))
    for kind in (torch.int32, torch.uint8):
        assert torch.equal(rng.bits(5, counters.to(kind)), drawn)


def test_the_same_bits_in_any_order_and_shape():
    counters = torch.arange(-500, 500)
    drawn = rng.bits(9, counters)
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rng.bits(9, counters[order]), drawn[order])
    assert torch.equal(rng.bits(9, counters.view(10, 4, 25)), drawn.view(10, 4, 25))
    assert torch.equal(rng.bits(9, counters.view(20, 50).T), drawn.view(20, 50).T)
    assert torch.equal(rng.bits(9, counters[137]), drawn[137])


def test_different_parts_give_different_keys():
    parts = [
        (seed, purpose, epoch) for seed in range(-20, 20) for purpose in ("fold", "shuffle") for epoch in range(50)
    ]
    parts += [(seed, epoch) for seed in range(40) for epoch in range(40)]
    parts += [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), (), (0,), (0, 0), (2**63 - 1,), (-(2**63),)]
    keys = {rng.key(*part) for part in parts}
    assert len(keys) == len(set(parts))
    assert all(-(2**63) <= key < 2**63 for key in keys)


def test_one_bit_of_a_part_changes_half_of_the_bits_of_the_key():
    changed = [
        bin((rng.key(seed, "fold") ^ rng.key(seed ^ (1 << bit), "fold")) % (1 << 64)).count("1")
        for seed in range(40)
        for bit in range(48)
    ]
    # The mean of 1920 counts of 64 fair coins: standard deviation 4 / sqrt(1920).
    assert abs(np.mean(changed) - 32) < 5 * 4 / len(changed) ** 0.5
    assert min(changed) > 10


@pytest.mark.parametrize("below", [2, 3, 10, 256])
@pytest.mark.parametrize("epoch", range(3))
def test_integers_are_uniform(below, epoch):
    drawn = rng.integers(rng.key(0, "fold", epoch), torch.arange(DRAWS), below)
    assert 0 <= drawn.min() and drawn.max() < below
    assert chi_square_p(drawn, below) > SUSPICIOUS


@pytest.mark.slow
def test_integers_are_uniform_across_streams_for_one_counter():
    drawn = [rng.integers(rng.key(seed, "fold", 0), torch.tensor([77]), 10) for seed in range(6_000)]
    assert chi_square_p(torch.cat(drawn), 10) > SUSPICIOUS


@pytest.mark.parametrize(
    "other",
    [
        (rng.key(0, "fold", 1), 0),
        (rng.key(1, "fold", 0), 0),
        (rng.key(0, "shuffle", 0), 0),
        (rng.key(0, "fold", 0), 1),
        (rng.key(0, "fold", 0), DRAWS),
    ],
)
def test_streams_and_adjacent_counters_are_independent(other):
    counters = torch.arange(DRAWS)
    stream, shift = other
    a = rng.integers(rng.key(0, "fold", 0), counters, 16)
    assert independent_p(a, rng.integers(stream, counters + shift, 16), 16) > SUSPICIOUS


def test_each_integer_has_its_own_bound():
    below = torch.tensor([1, 2, 7, 1000, 2**31])
    drawn = rng.integers(5, torch.arange(20_000)[:, None], below)
    assert drawn.shape == (20_000, 5)
    assert (drawn >= 0).all() and (drawn < below).all()
    assert (drawn[:, 0] == 0).all()
    for column, bound in enumerate(below.tolist()):
        if bound > 1:
            # Standard error of the mean of uniform numbers: bound / sqrt(12 n).
            error = abs(drawn[:, column].double().mean() - (bound - 1) / 2)
            assert error < 5 * bound / (12 * 20_000) ** 0.5


def test_uniform_numbers_are_uniform_and_below_one():
    drawn = rng.uniform(rng.key(4, "rating"), torch.arange(DRAWS))
    assert drawn.dtype == torch.float64
    assert 0 <= drawn.min() and drawn.max() < 1
    assert scipy.stats.kstest(drawn.numpy(), "uniform").pvalue > SUSPICIOUS
    pairs = torch.stack([drawn[:-1], drawn[1:]])
    assert abs(np.corrcoef(pairs.numpy())[0, 1]) < 5 / DRAWS**0.5


def test_uniform_is_the_highest_53_bits(monkeypatch):
    monkeypatch.setattr(rng, "bits", lambda stream, counters: torch.tensor([0, -1, -(2**63), 2**63 - 1]))
    expected = [0.0, 1 - 2.0**-53, 0.5, 0.5 - 2.0**-53]
    assert rng.uniform(0, torch.arange(4)).tolist() == expected


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_permutation_has_every_index_once(count):
    order = rng.permutation(rng.key(1, "shuffle"), torch.arange(count))
    assert sorted(order.tolist()) == list(range(count))


def test_permutations_are_all_equally_likely():
    ids = torch.tensor([4, 100, -3])
    orders = [tuple(rng.permutation(rng.key(seed, "shuffle"), ids).tolist()) for seed in range(6_000)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert scipy.stats.chisquare(counts).pvalue > SUSPICIOUS


def test_relative_order_of_ids_does_not_depend_on_other_ids():
    ids = torch.arange(300)
    whole_order = ids[rng.permutation(8, ids)]
    some = torch.arange(40, 200)
    assert torch.equal(some[rng.permutation(8, some)], whole_order[(whole_order >= 40) & (whole_order < 200)])


def test_normal_rows_are_the_same_in_every_subset():
    whole = rng.normal_rows(3, torch.arange(1000), 5)
    rows = torch.tensor([999, 0, 17, 17, 512])
    assert torch.equal(rng.normal_rows(3, rows, 5), whole[rows])
    assert torch.equal(rng.normal_rows(3, torch.arange(1000), 5, block=7), whole)
    assert rng.normal_rows(3, torch.arange(0), 5).shape == (0, 5)


def test_normal_rows_are_standard_normal_and_uncorrelated():
    table = rng.normal_rows(rng.key(0, "init", "user", "source"), torch.arange(20_000), 8).double().numpy()
    assert scipy.stats.kstest(table.ravel(), "norm").pvalue > SUSPICIOUS
    assert abs(scipy.stats.skew(table.ravel())) < 0.05 and abs(scipy.stats.kurtosis(table.ravel())) < 0.1
    between = np.corrcoef(table.T) - np.eye(8)
    assert np.abs(between).max() < 5 / 20_000**0.5
    next_row = np.corrcoef(table[:-1].T, table[1:].T)[:8, 8:]
    assert np.abs(next_row).max() < 5 / 20_000**0.5


def test_normal_rows_are_finite_at_both_ends(monkeypatch):
    ends = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)
    monkeypatch.setattr(rng, "uniform", lambda stream, counters: ends.expand(counters.shape))
    low, high = rng.normal_rows(0, torch.arange(1), 2)[0].tolist()
    assert low == pytest.approx(scipy.stats.norm.ppf(2.0**-54), rel=1e-6)
    assert high == -low


@pytest.mark.parametrize("columns", [1, 4, 7, 64])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_the_rate_in_every_column(columns, rate):
    kept = rng.dropout_mask(rng.key(0, "dropout"), torch.arange(20_000), columns, rate)
    assert kept.shape == (20_000, columns) and kept.dtype == torch.bool
    for column in kept.T:
        assert scipy.stats.binomtest(int(column.sum()), 20_000, 1 - rate).pvalue > SUSPICIOUS


def test_dropout_columns_rows_and_steps_are_independent():
    masks = [rng.dropout_mask(rng.key(0, "step", step), torch.arange(20_000), 8, 0.4).double() for step in range(2)]
    together = torch.cat([masks[0], masks[1], masks[0].roll(1, 0)], 1).numpy()
    between = np.corrcoef(together.T) - np.eye(24)
    assert np.abs(between).max() < 5 / 20_000**0.5


def test_dropout_of_a_row_does_not_depend_on_the_others():
    whole = rng.dropout_mask(6, torch.arange(500), 10, 0.3)
    rows = torch.tensor([499, 3, 3, 0])
    assert torch.equal(rng.dropout_mask(6, rows, 10, 0.3), whole[rows])
    assert not torch.equal(whole[0], whole[3])


def test_no_dropout_keeps_everything():
    assert rng.dropout_mask(6, torch.arange(5000), 16, 0.0).all()
