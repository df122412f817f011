"""Costs of a step on a GPU, counted on the pretend GPU: waits of the host, launches, operators, bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks import gpu_budget
from tests.datasets import write_dataset

pytestmark = pytest.mark.slow

#: Most waits that prepare an epoch, for each group of folds: sums by fold, sizes of groups.
WAITS_OF_A_GROUP = 4
#: Configuration -> most waits, launches and bytes of a step, or of a validation. Lower them after every improvement.
BUDGET = {
    "ml20m_full": (0, 110, 290_000),
    "ml20m_full_bf16": (0, 115, 283_000),
    "ml20m_sage": (0, 150, 404_000),
    "ml20m_gcn": (0, 165, 423_000),
    "ml20m_gat": (0, 205, 519_000),
    "ranking_squared": (0, 50, 75_500),
    "ranking_drawn": (0, 340, 1_754_000),
    "validation": (2, 86, 81_000),
}
#: Most entries of a list for one program, so that some lists of the small dataset need several.
CHUNK = 16
#: The dataset for ratings, small because the interpreter is slow; every step that is counted has targets.
SIZE = {"users": 24, "movies": 18, "ratings": 240}
#: Options of all of them for the small dataset.
SMALL = {name: ["--model.dim=8"] for name in BUDGET} | dict.fromkeys(gpu_budget.NOT_LINEAR, ["--ranking.dim=8"])


@pytest.fixture(scope="module")
def counted(tmp_path_factory) -> dict[str, dict]:
    directory = tmp_path_factory.mktemp("budget")
    ratings = write_dataset(directory / "ratings", **SIZE).directory
    ranking = write_dataset(directory / "ranking", protocol="strong").directory
    cases = gpu_budget.cases(ratings, ranking, users=SIZE["users"])
    assert cases.keys() == BUDGET.keys()
    for name, case in cases.items():
        case |= {"options": case["options"] + SMALL[name], "chunk": CHUNK}
    return gpu_budget.count(cases)


@pytest.fixture(scope="module")
def tested() -> dict[str, set[str]]:
    """Kernels of Triton that tests run in the interpreter, and that they compile."""
    found = {}
    for kind, interpret in (("interpreted", "1"), ("compiled", "0")):
        command = [sys.executable, "-O", "-m", "tests.pretend_gpu.tested_kernels", kind]
        done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": interpret}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found[kind] = set(json.loads(done.stdout))
    return found


@pytest.mark.parametrize("name", BUDGET)
def test_a_step_stays_within_its_budget(counted, name):
    found, (waits, launches, moved) = counted[name], BUDGET[name]
    assert found["step_waits"] <= waits, found["waits_by_line"]
    waits += WAITS_OF_A_GROUP * found["groups"] / found["steps"]
    assert 0 <= found["waits"] <= waits + 1e-9, found["waits_by_line"]
    assert 30 < found["operators"] <= found["launches"] <= launches
    assert found["device_mixing"] == 0 and 0 < found["bytes"] <= moved


def test_message_tables_in_bfloat16_take_half_of_the_bytes_of_rows(counted):
    wide, narrow = (counted[name]["bytes_by_operator"] for name in ("ml20m_full", "ml20m_full_bf16"))
    assert 0.55 < narrow["sums_triton._add_chunks"] / wide["sums_triton._add_chunks"] < 0.85
    others = [name for name in wide if name not in ("sums_triton._add_chunks", "_to_copy")]
    assert {name: narrow[name] for name in others} == {name: wide[name] for name in others}


def test_kernels_of_triton_run_where_they_exist(counted):
    for name in ("ml20m_full", "ml20m_sage", "ml20m_gcn", "ml20m_gat"):
        assert counted[name]["triton"]["sums_triton._add_chunks"] >= 1, name
        assert counted[name]["triton"]["pairs_triton._scores"] >= 1, name
    assert counted["ml20m_full"]["triton"]["sums_triton._add_to_lists"] >= 1, "lists are long enough to be divided"


def test_a_kernel_counts_only_if_tests_run_and_compile_it(counted, tested):
    launched = {kernel for found in counted.values() for kernel in found["triton"]}
    assert launched
    assert launched - tested["interpreted"] == set()
    assert launched - tested["compiled"] == set()
