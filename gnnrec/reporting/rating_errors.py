"""Errors of predicted ratings by activity and popularity, and calibration."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from gnnrec.baselines.means import bias_predictor
from gnnrec.evaluation.rating import predict_split
from gnnrec.evaluation.rating_buckets import rmse_by_degree
from gnnrec.inference.rating_run import RatingRun
from gnnrec.reporting import charts
from gnnrec.reporting.content import Figure, Section, Table
from gnnrec.reporting.opened_run import OpenedRun

#: Number of bins of the rating scale.
_BINS = 20
_BY = {
    "rmse_by_user_ratings": ("user", "Users, by their training ratings"),
    "rmse_by_movie_ratings": ("movie", "Movies, by their training ratings"),
}


def rating_errors(run: OpenedRun) -> list[Section]:
    """Shows RMSE by user activity and movie popularity, next to biases, and calibration."""
    loaded = run.loaded
    assert isinstance(loaded, RatingRun)
    graph = loaded.graph
    predicted, targets = predict_split(loaded.model, run.embeddings, loaded.dataset, graph, run.split)
    if not targets.movie.numel():
        return []
    buckets = {
        "this model": rmse_by_degree(predicted, targets, graph),
        "biases": rmse_by_degree(bias_predictor(graph)(targets), targets, graph),
    }
    unit = graph.rating_unit
    scale = unit.scale
    clipped, rating = (unit.restore(values).cpu().numpy() for values in (unit.clip(predicted), targets.rating))
    table, error = calibration(clipped, rating, scale), clipped - rating
    fails = Section(
        "fails",
        "Where it fails",
        f"RMSE without time of {run.split_name} ratings by the number of training ratings of the user or movie. Gray "
        "bars: ratings in each bucket. Biases: mean rating plus a user bias and a movie bias.",
        [*degree_figures(buckets), *cold_table(buckets)],
    )
    calibrated = Section(
        "calibration",
        "Calibration",
        f"Mean of the {run.split_name} ratings for each predicted rating. On the dashed line predictions are right on "
        "average. Gray bars: number of predictions.",
        [
            Figure(
                "calibration", "Mean rating by predicted rating", _calibration_caption(table),
                charts.calibration(table, scale), height=340,
            ),
            Figure(
                "errors", "Errors", _error_caption(error),
                charts.bars_across(error_shares(error, scale), "share of ratings (%)", "error", ".1f"),
                height=340,
            ),
        ],
    )  # fmt: skip
    return [fails, calibrated]


def degree_figures(buckets: dict[str, dict[str, list[dict]]]) -> list[Figure]:
    """Draws RMSE over buckets of training ratings, one chart for users and one for movies.

    Args:
        buckets: Series -> result of :func:`gnnrec.evaluation.rating_buckets.rmse_by_degree`. Bars show the numbers of
            ratings of the first.
    """
    figures = []
    for key, (side, title) in _BY.items():
        tables = {name: rows[key] for name, rows in buckets.items() if rows.get(key)}
        if not tables:
            continue
        counted = next(iter(tables.values()))
        counts = pd.DataFrame([(bucket_name(row), row["ratings"]) for row in counted], columns=["bucket", "count"])
        rows = [(bucket_name(row), row["rmse"], name) for name, buckets_of in tables.items() for row in buckets_of]
        spec = charts.lines_over_counts(
            pd.DataFrame(rows, columns=["bucket", "value", "series"]),
            counts,
            f"training ratings of the {side}",
            "RMSE",
            "held-out ratings",
        )
        figures.append(Figure(f"rmse_by_{side}_ratings", title, "", spec, height=300))
    return figures


def cold_table(buckets: dict[str, dict[str, list[dict]]]) -> list[Table]:
    """Compares the errors on users and movies without and with training ratings; none if there are no cold ones.

    Args:
        buckets: As in :func:`degree_figures`.
    """
    rows, any_cold = [], False
    for key, (side, _) in _BY.items():
        for cold in (True, False):
            chosen = {name: [row for row in of[key] if (row["to"] == 0) == cold] for name, of in buckets.items()}
            counts = [sum(row["ratings"] for row in some) for some in chosen.values()]
            if not counts[0]:
                continue
            errors = [
                math.sqrt(sum(row["ratings"] * row["rmse"] ** 2 for row in some) / count)
                for some, count in zip(chosen.values(), counts)
            ]
            any_cold |= cold
            name = f"{side}s {'without' if cold else 'with'} training ratings"
            rows.append([name, f"{counts[0]:,}", *(f"{error:.4f}" for error in errors)])
    if not any_cold:
        return []
    caption = "Of users and movies without training ratings a model knows the features alone."
    return [Table(caption, ["RMSE without time", "ratings", *buckets], rows, wide=True)]


def bucket_name(row: dict) -> str:
    """Formats a bucket: ``0``, ``10–19`` or ``20k+``."""

    def short(number: int) -> str:
        return f"{number / 1000:g}k" if number >= 1000 and number % 1000 == 0 else str(number)

    low, top = row["from"], row["to"]
    if top is None:
        return f"{short(low)}+"
    if low == top:
        return str(low)
    return f"{short(low)}–{short(top + 1) if low >= 1000 else top}"


def calibration(predicted: np.ndarray, rating: np.ndarray, scale: tuple[float, float]) -> pd.DataFrame:
    """Computes the mean rating by predicted rating.

    Args:
        predicted: Clipped to the scale, float ``[ratings]``.
        rating: Float ``[ratings]``.
        scale: Lowest and highest rating.

    Returns:
        ``low``, ``high`` (equal bins of the scale), ``predicted``, ``observed`` (means) and ``count`` of bins that are
        not empty.
    """
    edges = np.linspace(*scale, _BINS + 1)
    bin_of = np.clip(np.digitize(predicted, edges) - 1, 0, _BINS - 1)
    count = np.bincount(bin_of, minlength=_BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bin_of, values, _BINS) / count for values in (predicted, rating)]
    table = pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "predicted": means[0], "observed": means[1], "count": count}
    )
    return table[table["count"] > 0].reset_index(drop=True)


def _calibration_caption(table: pd.DataFrame) -> str:
    gap = (table["observed"] - table["predicted"]).abs()
    mean = float((gap * table["count"]).sum() / table["count"].sum())
    return f"Expected calibration error: {mean:.3f} (mean distance from the line, weighted by ratings)."


def error_shares(error: np.ndarray, scale: tuple[float, float]) -> pd.DataFrame:
    """Computes the shares of predictions by absolute error.

    Args:
        error: Prediction minus rating, float ``[ratings]``.
        scale: Lowest and highest rating. Bins are wider on scales of more than ten units.

    Returns:
        ``name`` (range of errors) and ``value`` (percent).
    """
    width = scale[1] - scale[0]
    limits = np.array([0.25, 0.5, 1.0, 1.5, 2.0]) * (1 if width <= 10 else round(width / 5))
    share = np.bincount(np.digitize(np.abs(error), limits), minlength=len(limits) + 1) / len(error) * 100
    between = [f"{low:g} to {high:g}" for low, high in zip(limits, limits[1:])]
    return pd.DataFrame({"name": [f"below {limits[0]:g}", *between, f"{limits[-1]:g} or more"], "value": share})


def _error_caption(error: np.ndarray) -> str:
    direction = "high" if error.mean() > 0 else "low"
    return f"Absolute error of the predictions. On average they are {abs(error.mean()):.3f} too {direction}."
