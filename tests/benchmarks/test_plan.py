"""The constants of ``gnnrec plan`` come out of runs that were made with known ones, and errors are the worst ones."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from benchmarks import plan_error, record
from benchmarks.plan_constants import fit
from benchmarks.plan_error import worst
from benchmarks.plan_runs import measure
from gnnrec.tools.planning.constants import PATH
from gnnrec.tools.planning.work import STAGES
from tests.datasets import write_dataset


def runs(true: dict[str, float]) -> list[dict]:
    """Runs whose stages take exactly the sum of their work times ``true``, and two ranks that take half more."""
    rng, found = np.random.default_rng(0), []
    for number in range(40):
        work = {name: float(rng.uniform(1, 100)) for name in true}
        stages = {stage: sum(true[name] * work[name] for name in names) for stage, names in STAGES.items()}
        ranks = 2 if number >= 36 else 1
        step = sum(stages.values()) * (1.5 if ranks == 2 else 1)
        about = {"work": work, "ranks": ranks, "step": step + 7.0 * (ranks == 2), "collectives": 7.0 * (ranks == 2)}
        channels = [float(rng.uniform(1, 9)) * 1e6 for _ in range(2)]
        peak = 5e8 + 3e6 + 2 * channels[0] + 4 * channels[1]
        memory = {"peak_bytes": peak, "tensor_bytes": 3e6, "channel_bytes": channels}
        found.append(stages | about | memory)
    return found


def test_known_constants_are_found():
    rng = np.random.default_rng(1)
    true = {name: float(rng.uniform(1, 2)) for names in STAGES.values() for name in names}
    reduces = [{"bytes": size, "seconds": 1e-3 + size / 2e9} for size in (1e3, 1e6, 1e8)]
    found = fit(runs(true), reduces)
    assert found["seconds"] == pytest.approx(true, rel=1e-6)
    assert found["sharing"] == pytest.approx(1.5) and found["fit_error"] < 1e-6
    assert found["all_reduce_latency"] == pytest.approx(1e-3)
    assert found["all_reduce_bytes_per_second"] == pytest.approx(2e9)
    assert (found["user_moments"], found["movie_moments"]) == pytest.approx((2, 4))
    assert found["base_bytes"] == pytest.approx(5e8)


def test_the_worst_error_is_that_of_any_quantity():
    names = ("step_seconds", "peak_bytes", "collective_bytes")
    rows = [
        {name: {"error": error} for name, error in zip(names, errors)} for errors in ((0.1, -0.3, 0), (-0.2, 0.1, 0))
    ]
    assert worst(rows) == {"plan_error": 0.3, "worst": dict(zip(names, (0.2, 0.3, 0)))}


def test_the_package_has_the_constants_of_the_result_file():
    result = json.loads((record.RESULTS / "plan_constants.json").read_text())
    package = json.loads(PATH.read_text())
    assert {name: package[name] for name in result["constants"]} == result["constants"]
    assert fit(result["runs"], result["all_reduces"])["seconds"] == pytest.approx(package["seconds"], rel=1e-6)


@pytest.mark.slow
def test_every_stage_of_a_step_is_timed(tmp_path):
    found = measure(write_dataset(tmp_path).directory, ["--loader.folds=2"], epochs=1)
    assert all(0 < found[stage] < found["step"] for stage in STAGES)
    assert sum(found[stage] for stage in STAGES) == pytest.approx(found["step"])


@pytest.mark.slow
def test_quick_checks_one_run_and_writes_no_file(monkeypatch, capsys):
    written = []
    monkeypatch.setattr(record, "write", lambda *args: written.append(args))
    monkeypatch.setattr(sys, "argv", ["plan_error", "--quick"])
    plan_error.main()
    text = capsys.readouterr().out
    assert json.loads(text[text.index("{\n") :])["worst"]["collective_bytes"] == 0 and not written
