"""Rows of a comparison against NumPy, and their formats."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from benchmarks.quality import merge
from gnnrec.tools.comparison import table


def fit(seed: int, rmse: float, validation: float | None = 0.9, **setting) -> dict:
    figures = {"metrics": {"rmse": rmse, "mae": rmse / 2, "coverage": None}, "validation": validation}
    return figures | {"seed": seed, "seconds": 1.0 + seed, "peak_memory_gib": 0.5 + seed, "setting": setting}


def test_a_row_has_means_spreads_and_the_peak():
    values = [0.81, 0.84, 0.83]
    row = table.row([fit(seed, value, strength=1) for seed, value in enumerate(values)], data="d", model="m")
    assert row["data"] == "d" and row["model"] == "m" and row["seeds"] == [0, 1, 2]
    assert list(row["metrics"]) == ["rmse", "mae"]
    assert row["metrics"]["rmse"]["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert row["metrics"]["rmse"]["spread"] == pytest.approx(np.std(values), abs=1e-6)
    assert row["validation"] == {"mean": 0.9, "spread": 0.0}
    assert (row["seconds"], row["peak_memory_gib"], row["setting"]) == (2.0, 2.5, {"strength": 1})


def test_settings_that_differ_are_all_kept_and_validation_may_be_missing():
    row = table.row([fit(0, 1.0, None, strength=1), fit(1, 1.0, None, strength=2)])
    assert row["setting"] == [{"strength": 1}, {"strength": 2}] and row["validation"] is None


@pytest.fixture
def rows() -> list[dict]:
    return [
        table.row([fit(0, 0.8), fit(1, 0.9)], data="d", protocol="random", model="sage"),
        table.row([fit(0, 1.1, None)], data="d", protocol="random", model="global mean"),
    ]


def test_text_is_aligned(rows):
    lines = table.as_text(rows).splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines) == 3
    assert "test RMSE" in lines[0] and "0.8500 ± 0.0500" in lines[1] and lines[2].startswith("global mean ")


def test_errors_without_time_are_the_first_column_and_explained(rows):
    assert "without" not in table.as_text(rows) + table.as_markdown(rows)
    timed = fit(0, 0.8)
    timed["metrics"] |= {"rmse_without_time": 0.85, "mae_without_time": 0.42}
    timed = [table.row([timed], data="d", protocol="random", model="sage")]
    head, line = table.as_text(timed).splitlines()
    assert head.index("test RMSE without time") < head.index("test RMSE  ") and line.index("0.85") < line.index("0.80")
    assert "without the times of the test ratings" in table.note(timed)


def test_markdown_has_as_many_cells_in_every_line(rows):
    lines = table.as_markdown(rows).split("\n\n")[0].splitlines()
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 4
    assert "seeds 0, 1" in table.as_markdown(rows)


def test_csv_has_numbers(rows):
    first, second = csv.DictReader(table.as_csv(rows).splitlines())
    assert float(first["rmse"]) == pytest.approx(0.85) and float(first["rmse_spread"]) == pytest.approx(0.05)
    assert (first["model"], first["seeds"], second["validation"]) == ("sage", "2", "")


def test_merging_replaces_rows_of_the_same_data_protocol_and_model(tmp_path):
    def row(model: str, value: int, data: str = "d") -> dict:
        return {"data": data, "protocol": "random", "model": model, "value": value}

    path = tmp_path / "quality.json"
    merge([row("a", 1), row("b", 2)], path)
    merge([row("b", 3), row("c", 4), row("a", 5, "other")], path)
    assert [(r["data"], r["model"], r["value"]) for r in json.loads(path.read_text())] == [
        ("d", "a", 1), ("d", "b", 3), ("d", "c", 4), ("other", "a", 5),
    ]  # fmt: skip
