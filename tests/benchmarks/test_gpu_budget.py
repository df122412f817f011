"""Arithmetic of the budget on a GPU: bytes at another size, and figures before and after."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import gpu_budget
from benchmarks.gpu_budget import Size

#: Bytes for each rating, user and movie, and of each step, of two operators.
TRUE = {"sort": (100.0, 7.0, 30.0, 5000.0), "mul": (1.0, 2000.0, 3.0, 0.0)}


@pytest.fixture
def sizes(tmp_path) -> list[Size]:
    """Datasets of a manifest only; a tenth of the ratings is for tests, and a twentieth for validation."""
    manifest = {"split": {"test": 0.1, "validation": 0.05}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    shapes = [*gpu_budget.SIZES, gpu_budget.CHECK]
    return [Size(tmp_path, tmp_path, (0.85 * users * each, users, movies, 1.0)) for users, movies, each in shapes]


def counts(size: Size, **others) -> dict:
    moved = {name: float(np.dot(numbers, size.features)) for name, numbers in TRUE.items()}
    found = {"waits": 1.234, "step_waits": 1.0, "launches": 10.0, "operators": 9.0, "device_mixing": 0}
    return found | {"triton": {"k": 2.0, "l": 1.0}, "waits_by_line": {}, "bytes_by_operator": moved} | others


def test_bytes_are_those_of_movielens_20m(sizes):
    row = gpu_budget._row(sizes, [counts(size) for size in sizes])
    exact = {
        name: (numbers[0] * 0.85 * 20_000_263 + numbers[1] * 138_493 + numbers[2] * 26_744 + numbers[3]) / 1e9
        for name, numbers in TRUE.items()
    }
    assert row["gigabytes"] == pytest.approx(sum(exact.values()), abs=0.006)
    assert row["gigabytes_by_operator"] == pytest.approx(exact, abs=6e-4)
    assert list(row["gigabytes_by_operator"]) == ["sort", "mul"]
    assert row["bytes_for_each"] == pytest.approx({"rating": 101, "user": 2007, "movie": 33, "step": 5000}, abs=0.1)
    assert row["check"] == pytest.approx(0)
    assert (row["syncs"], row["launches"], row["triton_launches"], row["device_mixing"]) == (1.23, 10.0, 3.0, 0)


def test_the_check_shows_bytes_that_do_not_grow_linearly(sizes):
    found = [counts(size) for size in sizes]
    found[-1]["bytes_by_operator"] = {name: 1.25 * number for name, number in found[-1]["bytes_by_operator"].items()}
    assert gpu_budget._row(sizes, found)["check"] == pytest.approx(-0.2)


def test_the_check_is_larger_than_each_dataset():
    largest = max(users * each for users, _, each in gpu_budget.SIZES)
    assert gpu_budget.CHECK[0] * gpu_budget.CHECK[2] > largest
    assert all(each <= movies for _, movies, each in [*gpu_budget.SIZES, gpu_budget.CHECK])


def test_figures_before_are_read_from_an_earlier_result(tmp_path):
    earlier = {"configs": {"ml20m_full": {"before": {"syncs": 23}, "after": {"syncs": 0}}}}
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    assert gpu_budget.before_of(tmp_path / "earlier.json", [], []) == {"ml20m_full": {"syncs": 0}}


def test_sampled_passes_have_nine_steps(tmp_path):
    cases = gpu_budget.cases(tmp_path / "ratings", tmp_path / "ranking", 100)
    sampled = [case for case in cases.values() if any("seed_users" in option for option in case["options"])]
    assert len(sampled) == 3 and all("--loader.seed_users=12" in case["options"] for case in sampled)
