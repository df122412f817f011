"""Sections from the records of training: results, curves, partition, time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gnnrec.data.prepared import PreparedDataset
from gnnrec.evaluation.metrics import in_order
from gnnrec.graph.partition import partition
from gnnrec.reporting import charts
from gnnrec.reporting.content import Figure, Section, Table
from gnnrec.reporting.metric_names import (
    compared,
    four_digits,
    headline_metric,
    lower_is_better,
    metric_name,
    metrics_of,
)
from gnnrec.reporting.run_records import RunRecords

#: Maximum number of ranks that have a color each.
_COLORS = 8
#: Maximum number of bars in a chart.
_BARS = 512
#: Times that are parts of the time of training.
_PARTS = ("sampling", "compute", "communication", "checkpoints")


def curves(records: list[RunRecords]) -> Section | None:
    """Draws loss, validation metric, learning rate, speed and gradient norm over steps; a line for each run."""
    metric = headline_metric(records[0].ranking, any(run.timed for run in records))
    shapes = [
        ("loss", "Training loss", "loss", "Mean training loss since the previous record.", ".4f"),
        (
            f"validation_{metric}", f"Validation {metric_name(metric)}", metric_name(metric),
            "The best checkpoint is scored on the test split.", ".4f",
        ),
        ("lr", "Learning rate", "learning rate", "", ".2e"),
        ("edges_per_second", "Speed", "ratings per second", "Training ratings per second, over all ranks.", ",.0f"),
        ("gradient_norm", "Gradient norm", "norm", "", ".3e"),
    ]  # fmt: skip
    figures = []
    for name, title, y, caption, digits in shapes:
        table = pd.concat([run.series(name).assign(series=run.name) for run in records], ignore_index=True)
        if table["step"].nunique() > 1:
            spec = charts.lines(table, y, digits, zero=name in ("lr", "edges_per_second"))
            figures.append(Figure(f"curve_{name.replace('@', '_at_')}", title, caption, spec))
    if not figures:
        return None
    return Section("curves", "Training", "", figures)


def results(records: RunRecords) -> Section | None:
    """Compares test metrics with those of the baselines; None before the end of training."""
    test = metrics_of(records.summary, "test")
    if not test:
        return None
    headline = headline_metric(records.ranking, records.timed)
    order = sorted(in_order([test]), key=lambda name: name != headline)
    baselines = records.summary.get("baselines") or {}
    rows = [
        [name, *(_cell(row.get(f"test_{metric}"), test[metric]) for metric in order)] for name, row in baselines.items()
    ]
    rows.append(["this model", *(four_digits(test[metric]) for metric in order)])
    head = ["", *(f"test {metric_name(metric)}" for metric in order)]
    caption = "Small: this model relative to the baseline." if baselines else "No baselines were fitted."
    table = Table(caption, head, rows, strong=len(rows) - 1, wide=not baselines or len(order) > 2)
    items: list[Figure | Table] = [table]
    if baselines:
        scores = [(name, row.get(f"test_{headline}"), False) for name, row in baselines.items()]
        points = pd.DataFrame([*scores, ("this model", test[headline], True)], columns=["name", "value", "strong"])
        points = points.dropna()
        y = f"test {metric_name(headline)}"
        spec = charts.points_across(points, y, "model")
        title = y[0].upper() + y[1:]
        better = "lower" if lower_is_better(headline) else "higher"
        caption = f"The axis starts near the values, not at zero; {better} is better."
        items.append(Figure("results", title, caption, spec, height=70 + 40 * len(points), wide=table.wide))
    unit = "users" if records.ranking else "ratings"
    count = records.summary.get("counts", {}).get(f"test_{unit}")
    text = f"On {count:,} {'held-out users' if records.ranking else 'test ratings'}. " if count else ""
    if baselines:
        text += "Baselines are tuned on validation and fitted on the same ratings. "
    if records.timed:
        text += (
            "Without time: predicted without the times of the test ratings, like exported vectors; on validation this "
            "error selects the best checkpoint."
        )
    return Section("results", "Results", text.strip(), items)


def _cell(value: float | None, ours: float) -> str:
    return four_digits(value) + (f"\nthis model: {compared(ours, value)}" if value else "")


def partition_section(records: RunRecords, dataset: PreparedDataset | None) -> Section | None:
    """Shows users and ratings of each rank and each shard; None for one rank."""
    report = records.summary.get("partition")
    ranks = len(report["edges"]) if report else 1
    if ranks == 1:
        return None
    items: list[Figure | Table] = []
    for name, title in (("edges", "Ratings"), ("users", "Users")):
        table = pd.DataFrame({"number": range(ranks), "value": report[name], "series": "rank"}).iloc[:_BARS]
        spec = charts.bars_in_a_row(table, "rank", name if name == "users" else "ratings")
        items.append(Figure(f"{name}_by_rank", f"{title} of each rank", _balance(report[name]), spec))
    if dataset is not None:
        shards = dataset.manifest.shards
        boundaries = dataset.user_ptr[shards]
        values = {"ratings": boundaries[1:] - boundaries[:-1], "users": [b - a for a, b in zip(shards, shards[1:])]}
        series = _rank_of_shards(shards, ranks)
        for name, value in values.items():
            table = pd.DataFrame({"number": range(len(shards) - 1), "value": value, "series": series}).iloc[:_BARS]
            spec = charts.bars_in_a_row(table, "shard", name)
            items.append(Figure(f"{name}_by_shard", f"{name.capitalize()} of each shard", _balance(value), spec))
    text = (
        "Each rank has consecutive shards of users with all their ratings. Shards are balanced by number of ratings, "
        f"up to whole users. In each step a rank all-reduces {report['bytes_a_step'] / 2**20:,.1f} MiB."
    )
    return Section("partition", "Partition of the users", text, items)


def _rank_of_shards(shards: list[int], ranks: int) -> list[str]:
    """Returns the rank of each shard, or one name for all if there are too many ranks for colors."""
    if not 1 < ranks <= min(_COLORS, len(shards) - 1):
        return ["shards"] * (len(shards) - 1)
    parts = [partition(shards, rank, ranks) for rank in range(ranks)]
    return [f"rank {rank}" for rank, part in enumerate(parts) for _ in part.shards[1:]]


def _balance(counts: list[int] | np.ndarray) -> str:
    values = pd.Series(counts)
    return f"Largest {values.max():,}, mean {values.mean():,.0f}: ratio {values.max() / max(values.mean(), 1e-12):.3f}."


def time_section(records: RunRecords) -> Section | None:
    """Shows all ``*_seconds`` of the summary and of the records; None without any."""
    items = []
    totals = records.summary.get("seconds", {}) | {
        _title(name): value
        for name, value in records.summary.items()
        if name.endswith("_seconds") and isinstance(value, (int, float))
    }
    if totals:
        whole = sorted((name for name in totals if name not in _PARTS), key=totals.get, reverse=True)
        parts = [name for name in _PARTS if name in totals]
        after = whole.index("training") + 1 if "training" in whole else len(whole)
        order = [*whole[:after], *parts, *whole[after:]]
        table = pd.DataFrame({"name": order, "value": [totals[name] for name in order]})
        table["strong"] = ~table["name"].isin(parts)
        table["name"] = [f"training · {name}" if name in parts else name for name in order]
        spec = charts.bars_across(table, "seconds", "part of the run", ",.2f")
        caption = "Blue: consecutive parts of the run. Gray: parts of the training time above them."
        items.append(Figure("seconds", "Seconds of the whole run", caption, spec, height=80 + 34 * len(table)))
    series = {name: records.series(name) for name in records.names("_seconds") if name != "evaluation_seconds"}
    series = {_title(name): table for name, table in series.items() if len(table) > 1 and (table["value"] > 0).any()}
    if series:
        table = pd.concat([table.assign(series=name) for name, table in series.items()], ignore_index=True)
        table["value"] *= 1000
        total = "step" if len(series) > 1 else None
        spec = charts.lines(table, "milliseconds", ",.1f", zero=True, total=total)
        caption = "Mean time of a step since the previous record. Dashed: the whole step; colored: its parts."
        items.append(Figure("seconds_by_step", "Milliseconds of a step", caption, spec))
    return Section("time", "Time", "", items) if items else None


def _title(name: str) -> str:
    return name.removesuffix("_seconds").replace("_", " ")


def configuration(records: RunRecords) -> Section:
    """Lists all options."""
    rows = [[name, value] for name, value in records.options.items()]
    return Section("options", "Configuration", "", [Table("", ["option", "value"], rows, wide=True)], folded=True)
