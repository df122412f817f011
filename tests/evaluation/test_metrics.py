"""Columns of tables of metrics."""

from __future__ import annotations

from gnnrec.evaluation.metrics import in_order

FIGURES = {"rmse": 0.8, "mae": 0.6, "rmse_without_time": 0.8, "mae_without_time": 0.6}


def test_errors_without_time_come_first_if_any_row_has_times():
    order = ["rmse_without_time", "rmse", "mae_without_time", "mae"]
    assert in_order([FIGURES, FIGURES | {"rmse": 0.7}]) == order
    tested = [{f"test_{name}": value for name, value in row.items()} for row in (FIGURES, FIGURES | {"mae": 0.5})]
    assert in_order(tested) == [f"test_{name}" for name in order]


def test_errors_that_are_the_same_are_shown_once():
    assert in_order([FIGURES, FIGURES | {"rmse": 0.7, "rmse_without_time": 0.7}]) == ["rmse", "mae"]


def test_other_metrics_keep_their_order():
    assert in_order([{"recall@20": 0.1}, {"recall@20": 0.2, "coverage": 1}]) == ["recall@20", "coverage"]
    assert in_order([{"rmse": 0.8, "mae": None}]) == ["rmse", "mae"] and in_order([]) == []
