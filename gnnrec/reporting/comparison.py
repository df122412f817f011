"""Comparison of several runs from their records; no model is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnnrec.evaluation.metrics import in_order
from gnnrec.reporting.content import Page, Section, Table, Tile
from gnnrec.reporting.head import describe_model
from gnnrec.reporting.metric_names import (
    change,
    four_digits,
    headline_metric,
    lower_is_better,
    metric_name,
    metrics_of,
    seconds,
    short,
)
from gnnrec.reporting.rating_errors import degree_figures
from gnnrec.reporting.run_records import RunRecords
from gnnrec.reporting.training_sections import curves

#: Options that always differ and are left out.
_LEFT_OUT = ("run_dir", "overwrite", "resume", "wandb.name")
#: Field of the summary -> name on the page and format.
_COSTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "training_seconds": ("training time", seconds),
    "edges_per_second": ("training ratings per second", short),
    "peak_memory_gib": ("peak memory of a rank (GiB)", "{:.2f}".format),
    "steps": ("steps", "{:,}".format),
    "best_epoch": ("best epoch", "{:,}".format),
    "world_size": ("ranks", "{:,}".format),
}


def comparison_page(runs: list[RunRecords]) -> Page:
    """Creates a page about several runs; the others are compared with the first."""
    sections = [_scores(runs), *_curves(runs), *_errors(runs), _differences(runs)]
    names = ", ".join(run.name for run in runs[:-1]) + f" and {runs[-1].name}"
    return Page(names, f"A comparison of {len(runs)} runs", {}, _tiles(runs), _notices(runs), sections)


def _tiles(runs: list[RunRecords]) -> list[Tile]:
    """Returns the main metric of each run."""
    tiles, first, timed = [], None, any(run.timed for run in runs)
    for run in runs[:8]:
        name = headline_metric(run.ranking, timed)
        value = metrics_of(run.summary, "test").get(name)
        note = "" if first is None or value is None or runs[0].ranking != run.ranking else change(value, first)
        first = value if run is runs[0] else first
        tiles.append(Tile(four_digits(value), f"{run.name}: test {metric_name(name)}", note))
    return tiles


def _notices(runs: list[RunRecords]) -> list[str]:
    notices = [f"{run.name} has not ended: it has no test results yet." for run in runs if not run.ended]
    notices += [
        f"{run.name} has no test results: {run.summary['no_test_metrics']}."
        for run in runs
        if "no_test_metrics" in run.summary
    ]
    if len({run.config.objective for run in runs}) > 1:
        notices.append("Some of these runs predict ratings and others rank movies: their metrics cannot be compared.")
    if len({run.summary["dataset_fingerprint"] for run in runs if "dataset_fingerprint" in run.summary}) > 1:
        notices.append("These runs were trained on different prepared datasets: their metrics cannot be compared.")
    return notices


def _scores(runs: list[RunRecords]) -> Section:
    """Returns a table with a column for each run and a row for each metric and cost."""
    rows = [["model", *(describe_model(run.config).split(" · ")[-1] for run in runs)]]
    for split in ("test", "validation"):
        values = [metrics_of(run.summary, split) for run in runs]
        for name in in_order(values):
            cells = _with_changes([metrics.get(name) for metrics in values], name)
            rows.append([f"{split} {metric_name(name)}", *cells])
    for key, (name, text) in _COSTS.items():
        values = [run.summary.get(key) for run in runs]
        if any(value is not None for value in values):
            rows.append([name, *("–" if value is None else text(value) for value in values)])
    caption = f"Small: difference of this run from {runs[0].name}. ▲ is better, ▼ is worse."
    return Section("results", "Results", "", [Table(caption, ["", *(run.name for run in runs)], rows, wide=True)])


def _with_changes(values: list[float | None], name: str) -> list[str]:
    first, cells = values[0], [four_digits(values[0])]
    for value in values[1:]:
        text = four_digits(value)
        if value is not None and first and value != first:
            better = (value < first) == lower_is_better(name)
            text += f"\n{'▲' if better else '▼'} {change(value, first)}"
        cells.append(text)
    return cells


def _curves(runs: list[RunRecords]) -> list[Section]:
    """Draws the curves of all runs in the same charts, if they have the same objective."""
    section = curves(runs) if len({run.ranking for run in runs}) == 1 else None
    return [] if section is None else [section]


def _errors(runs: list[RunRecords]) -> list[Section]:
    summaries = {run.name: run.summary for run in runs if "rmse_by_user_ratings" in run.summary}
    figures = degree_figures(summaries) if summaries else []
    text = (
        "RMSE of test ratings by the number of training ratings of the user or movie. Gray bars: ratings in each "
        "bucket of the first run."
    )
    return [Section("fails", "Where they fail", text, figures)] if figures else []


def _differences(runs: list[RunRecords]) -> Section:
    """Lists the options that differ between the runs."""
    options = [run.options for run in runs]
    names = [name for name in dict.fromkeys(name for values in options for name in values) if name not in _LEFT_OUT]
    rows = [[name, *(values.get(name, "–") for values in options)] for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    text = "Options that differ between the runs." if rows else "All options are the same."
    items = [Table("", ["option", *(run.name for run in runs)], rows, wide=True)] if rows else []
    return Section("options", "Configuration", text, items)
