"""What a run recorded while it trained: curves, results, how the work was divided, where the time went."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gnnrec.data.prepared import PreparedDataset
from gnnrec.graph.partition import partition
from gnnrec.reporting import charts
from gnnrec.reporting.content import Figure, Section, Table
from gnnrec.reporting.metric_names import change, four_digits, headline_metric, metric_name, metrics_of
from gnnrec.reporting.run_records import RunRecords

#: Ranks up to which shards have the colour of theirs.
_COLOURS = 8
#: Bars in a chart, at most.
_BARS = 512


def curves(records: list[RunRecords]) -> Section | None:
    """Loss, validation, learning rate and speed over steps; a line for each run."""
    metric = headline_metric(records[0].ranking)
    shapes = [
        ("loss", "Training loss", "loss", "Mean loss of a target before each update.", ".4f"),
        (
            f"validation_{metric}", f"Validation {metric_name(metric)}", metric_name(metric),
            "After each validation; the best checkpoint is the one that is scored.", ".4f",
        ),
        ("lr", "Learning rate", "learning rate", "", ".2e"),
        ("edges_per_second", "Speed", "ratings a second", "Ratings supervised a second, of all ranks.", ",.0f"),
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
    """Test metrics next to those of the baselines; None before the end."""
    test = metrics_of(records.summary, "test")
    if not test:
        return None
    headline = headline_metric(records.ranking)
    order = sorted(test, key=lambda name: name != headline)
    baselines = records.summary.get("baselines") or {}
    rows = [
        [name, *(_cell(row.get(f"test_{metric}"), test[metric]) for metric in order)] for name, row in baselines.items()
    ]
    rows.append(["this model", *(four_digits(test[metric]) for metric in order)])
    head = ["", *(f"test {metric_name(metric)}" for metric in order)]
    caption = "Small: this model's difference from the baseline." if baselines else "No baselines were fitted."
    table = Table(caption, head, rows, strong=len(rows) - 1, wide=not baselines or len(order) > 2)
    items: list[Figure | Table] = [table]
    if baselines:
        scores = [(name, row.get(f"test_{headline}"), False) for name, row in baselines.items()]
        bars = pd.DataFrame([*scores, ("this model", test[headline], True)], columns=["name", "value", "strong"])
        bars = bars.dropna()
        y = f"test {metric_name(headline)}"
        spec = charts.bars_across(bars, y, "model", ".4f")
        title = y[0].upper() + y[1:]
        items.append(Figure("results", title, "", spec, height=60 + 34 * len(bars), wide=table.wide))
    unit = "users" if records.ranking else "ratings"
    count = records.summary.get("counts", {}).get(f"test_{unit}")
    text = f"On {count:,} {'held-out users' if records.ranking else 'test ratings'}. " if count else ""
    if baselines:
        text += "Baselines are tuned on validation and fitted on the same ratings."
    return Section("results", "Results", text.strip(), items)


def _cell(value: float | None, ours: float) -> str:
    return four_digits(value) + (f"\n{change(ours, value)}" if value else "")


def division(records: RunRecords, dataset: PreparedDataset | None) -> Section | None:
    """Users and ratings of each rank and each shard."""
    items: list[Figure | Table] = []
    report = records.summary.get("partition")
    ranks = len(report["edges"]) if report else 1
    if report and ranks > 1:
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
    if not items:
        return None
    text = (
        "A rank owns a run of shards: users with all their ratings. Shards are cut so that each has about the same "
        "number of ratings, as far as whole users let it."
    )
    if report and ranks > 1:
        text += f" In a step each rank hands {report['bytes_a_step'] / 2**20:,.1f} MiB to collectives."
    return Section("division", "How the work was divided", text, items)


def _rank_of_shards(shards: list[int], ranks: int) -> list[str]:
    """Which rank owns each shard; one word for all where that cannot be told by colours."""
    if not 1 < ranks <= min(_COLOURS, len(shards) - 1):
        return ["shards"] * (len(shards) - 1)
    parts = [partition(shards, rank, ranks) for rank in range(ranks)]
    return [f"rank {rank}" for rank, part in enumerate(parts) for _ in part.shards[1:]]


def _balance(counts: list[int] | np.ndarray) -> str:
    values = pd.Series(counts)
    return f"Largest {values.max():,}, mean {values.mean():,.0f}: ratio {values.max() / max(values.mean(), 1e-12):.3f}."


def where_time_went(records: RunRecords) -> Section | None:
    """Every ``*_seconds`` of the summary and of the records, by its name; None without any."""
    items = []
    totals = records.summary.get("seconds", {}) | {
        _spoken(name): value
        for name, value in records.summary.items()
        if name.endswith("_seconds") and isinstance(value, (int, float))
    }
    if totals:
        table = pd.DataFrame({"name": list(totals), "value": list(totals.values())})
        spec = charts.bars_across(table.sort_values("value", ascending=False), "seconds", "part", ",.2f")
        caption = "By the names in summary.json; what steps consist of is a part of training."
        items.append(Figure("seconds", "Seconds of the whole run", caption, spec, height=80 + 34 * len(table)))
    series = {name: records.series(name) for name in records.names("_seconds") if name != "evaluation_seconds"}
    series = {_spoken(name): table for name, table in series.items() if len(table) > 1 and (table["value"] > 0).any()}
    if series:
        table = pd.concat([table.assign(series=name) for name, table in series.items()], ignore_index=True)
        table["value"] *= 1000
        spec = charts.lines(table, "milliseconds", ",.1f", zero=True)
        caption = "By the names in metrics.jsonl; means of a step since the record before."
        items.append(Figure("seconds_by_step", "Milliseconds over steps", caption, spec))
    return Section("time", "Where the time went", "", items) if items else None


def _spoken(name: str) -> str:
    return name.removesuffix("_seconds").replace("_", " ")


def configuration(records: RunRecords) -> Section:
    """Every option."""
    rows = [[name, value] for name, value in records.options.items()]
    return Section("options", "Configuration", "", [Table("", ["option", "value"], rows, wide=True)], folded=True)
