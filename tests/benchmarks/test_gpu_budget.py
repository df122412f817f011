"""Arithmetic of the budget on a GPU: bytes at another size, and figures before and after."""

from __future__ import annotations

import json

import pytest

from benchmarks import gpu_budget


def counts(read: float, **others) -> dict:
    found = {"waits": 1.234, "launches": 10.0, "operators": 9.0, "device_mixing": 0, "triton": {"k": 2.0, "l": 1.0}}
    return found | {"waits_by_line": {}, "bytes": read, "bytes_by_operator": {"sort": read}} | others


@pytest.mark.parametrize("size", [0.01, 0.02, 1.0])
def test_a_straight_line_is_continued(size):
    line = [7e6 + 3e9 * share for share in (0.01, 0.02, size)]
    assert gpu_budget.extrapolated((0.01, 0.02), tuple(line[:2]), size) == pytest.approx(line[2])


def test_bytes_without_fixed_costs_equal_the_check():
    row = gpu_budget._row((0.01, 0.02), (counts(1e7), counts(2e7)))
    assert row["gigabytes"] == row["check"] == 1.0 and row["gigabytes_by_operator"] == {"sort": 1.0}
    assert (row["syncs"], row["launches"], row["triton_launches"], row["device_mixing"]) == (1.23, 10.0, 3.0, 0)


def test_fixed_costs_are_not_multiplied():
    row = gpu_budget._row((0.01, 0.02), (counts(1e9 + 1e7), counts(1e9 + 2e7)))
    assert row["gigabytes"] == 2.0 and row["check"] == 51.0


def test_figures_before_are_read_from_an_earlier_result(tmp_path):
    earlier = {"configs": {"ml20m_full": {"before": {"syncs": 23}, "after": {"syncs": 0}}}}
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    assert gpu_budget.before_of(tmp_path / "earlier.json", {}, []) == {"ml20m_full": {"syncs": 0}}


def test_sampled_steps_take_the_same_share_of_the_users(tmp_path):
    cases = gpu_budget.cases(tmp_path / "ratings", tmp_path / "ranking", 0.01)
    sampled = [case for case in cases.values() if any("seed_users" in option for option in case["options"])]
    assert len(sampled) == 3 and all("--loader.seed_users=164" in case["options"] for case in sampled)
