"""Spikes of loss and gradient norm are found and described."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from gnnrec.reporting.spikes import find_spikes, spike_notices
from tests.reporting.conftest import page_of, read_run


def series(values) -> pd.DataFrame:
    """Records at every tenth step."""
    return pd.DataFrame({"step": 10 * (np.arange(len(values)) + 1), "value": np.asarray(values, float)})


def test_a_jump_above_three_times_the_running_median_is_a_spike():
    (spike,) = find_spikes(series([1.0, 0.9, 1.1, 1.0, 0.8, 0.9, 3.3, 0.9]))
    assert (spike.step, spike.value) == (70, 3.3)
    assert spike.ratio == pytest.approx(3.3 / np.median([1.0, 0.9, 1.1, 1.0, 0.8, 0.9]))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0, 9.0, 1.0, 1.0],
        np.linspace(5, 1, 60),
        np.geomspace(1, 20, 60),
        [1.0] * 10 + [2.9] + [1.0] * 10,
        [0.0] * 20 + [1.0],
    ],
    ids=["none", "too few before", "falling", "rising slowly", "below three times", "after zeros"],
)
def test_usual_curves_have_no_spikes(values):
    assert find_spikes(series(values)) == []


def test_the_median_is_of_the_last_twenty_records():
    values = [100.0] * 30 + [1.0] * 20 + [4.0]
    assert [spike.step for spike in find_spikes(series(values))] == [510]


@pytest.mark.slow
def test_a_page_has_a_notice_about_a_spike(rating_run, tmp_path):
    shutil.copytree(rating_run, tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    losses = [row for row in rows if "loss" in row]
    assert len(losses) >= 8 and not page_of(rating_run).notices
    losses[6]["loss"], losses[7]["loss"] = 50.0, 40.0
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    (notice,) = page_of(tmp_path / "run").notices
    assert notice.startswith(f"The training loss has a spike at step {losses[6]['step']}: 50 is ")
    assert "(2 records are above 3 times)" in notice and "lower the learning rate" in notice
    assert spike_notices(read_run(tmp_path / "run")) == [notice]
