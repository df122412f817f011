"""Costs of a step on a GPU, counted on the pretend GPU: waits of the host, launches, operators."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.datasets import write_dataset

pytestmark = pytest.mark.slow

#: Most waits of an epoch that are not of its steps, for each group of folds: sums by fold, sizes of groups.
WAITS_OF_A_GROUP = 10
#: Configuration -> most waits of a step, and most launches, in plain torch where a GPU has no kernel.
STEPS = {
    "ml20m_full": (0, 620),
    "ml20m_sage": (2, 1180),
    "ml20m_gcn": (2, 1260),
    "ml20m_gat": (2, 1800),
    "slices": (2, 940),
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory) -> dict[str, dict]:
    dataset = write_dataset(tmp_path_factory.mktemp("budget"))
    command = [sys.executable, "-m", "tests.pretend_gpu.count_steps", str(dataset.directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_stays_within_its_budget(counted, name):
    found, (waits, launches) = counted[name], STEPS[name]
    assert 0 < found["waits"] * found["steps"] <= waits * found["steps"] + WAITS_OF_A_GROUP, found["waits_by_line"]
    assert 100 < found["operators"] <= found["launches"] <= launches
