"""Whole programs on a device: training, an interruption and a resume, evaluation, exports, recommendations, a report.

On the pretend GPU always, and on CUDA where there is any. An operator that mixes devices, or NumPy on a tensor of the
device, ends a step with an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch

from tests.datasets import write_dataset
from tests.end_to_end.commands import ROOT

pytestmark = pytest.mark.slow

STEPS = {
    "ratings": [
        "train", "resume", "evaluate", "export", "recommend to one", "recommend to all", "similar", "new users",
        "predict", "report",
    ],
    "ranking": ["train", "resume", "evaluate", "export", "recommend to one", "recommend to all"],
}  # fmt: skip


@pytest.fixture(scope="module", params=["pretend", *["cuda"] * torch.cuda.is_available()])
def results(request, tmp_path_factory) -> dict[str, dict]:
    """Results of each kind of run and step on the CPU and on a device."""
    place = tmp_path_factory.mktemp("devices")
    protocols = {"ratings": {"test": 0.15}, "ranking": {"protocol": "strong", "relevant": 3.5, "test": 0.2}}
    for name, options in protocols.items():
        write_dataset(place / f"made-{name}", **options).directory.rename(place / name)
    rows = [(7, 2, 4.0), (7, 12, 3.0), (1000, 7, 5.0), (1000, 2, 2.0), (1000, 12, 4.5), (1001, 17, 3.0)]
    table = pd.DataFrame(rows, columns=["userId", "movieId", "rating"]).assign(timestamp=1_450_000_000)
    table.to_csv(place / "new_users.csv", index=False)
    table.iloc[:2, :2].to_csv(place / "pairs.csv", index=False)
    command = [sys.executable, "-m", "tests.pretend_gpu.whole_paths", str(place), request.param]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def floats(value: object) -> list[float]:
    """Numbers in a result, in their order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for part in value for number in floats(part)]
    return [float(value)] if isinstance(value, (int, float)) else []


@pytest.mark.parametrize(("kind", "step"), [(kind, step) for kind, names in STEPS.items() for step in names])
def test_a_step_has_the_result_of_the_cpu(results, kind, step):
    found = results[kind][step]
    for result in found.values():
        assert not isinstance(result, dict) or "error" not in result, result["error"]
    # On devices, messages of a movie are in the order of time, so sums are rounded in another order.
    assert floats(found["device"]) == pytest.approx(floats(found["cpu"]), rel=1e-4, abs=1e-5)
    if step not in ("train", "recommend to one", "similar", "report"):
        assert floats(found["device"])


def test_a_run_is_interrupted_after_checkpoints_and_resumed(results):
    for kind in STEPS:
        assert results[kind]["train"]["device"] == results[kind]["train"]["cpu"] != []
        assert list(results[kind]) == STEPS[kind]


def test_kinds_of_runs_are_all_here(results):
    assert list(results) == list(STEPS)
