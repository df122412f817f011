"""Several runs side by side, from their own records: no model is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnnrec.reporting.content import Page, Section, Table, Tile
from gnnrec.reporting.head import describe_model
from gnnrec.reporting.metric_names import (
    change,
    four_digits,
    headline_metric,
    less_is_better,
    metric_name,
    metrics_of,
    seconds,
    short,
)
from gnnrec.reporting.rating_errors import degree_figures
from gnnrec.reporting.run_records import RunRecords
from gnnrec.reporting.training_sections import curves

#: Options that differ between any two runs.
_OWN = ("run_dir", "overwrite", "resume", "wandb.name")
#: Figure of the summary -> name, and how it is written.
_COSTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "training_seconds": ("training", seconds),
    "edges_per_second": ("ratings a second", short),
    "peak_memory_gib": ("GiB of a rank at most", "{:.2f}".format),
    "steps": ("steps", "{:,}".format),
    "best_epoch": ("best epoch", "{:,}".format),
    "world_size": ("ranks", "{:,}".format),
}


def comparison_page(runs: list[RunRecords]) -> Page:
    """A page about several runs; the first is what the others are compared with."""
    sections = [_scores(runs), *_curves(runs), *_fails(runs), _differences(runs)]
    names = ", ".join(run.name for run in runs[:-1]) + f" and {runs[-1].name}"
    return Page(names, f"A comparison of {len(runs)} runs", {}, _tiles(runs), _notices(runs), sections)


def _tiles(runs: list[RunRecords]) -> list[Tile]:
    """The metric that matters most, of each run."""
    tiles, first = [], None
    for run in runs[:8]:
        name = headline_metric(run.ranking)
        value = metrics_of(run.summary, "test").get(name)
        note = "" if first is None or value is None or runs[0].ranking != run.ranking else change(value, first)
        first = value if run is runs[0] else first
        tiles.append(Tile(four_digits(value), f"{run.name}: test {metric_name(name)}", note))
    return tiles


def _notices(runs: list[RunRecords]) -> list[str]:
    found = [f"{run.name} has not ended: it has no test results yet." for run in runs if not run.ended]
    if len({run.config.objective for run in runs}) > 1:
        found.append("Some of these runs predict ratings and others rank movies: their metrics cannot be compared.")
    if len({run.summary["dataset_fingerprint"] for run in runs if "dataset_fingerprint" in run.summary}) > 1:
        found.append("These runs were trained on different prepared datasets: their metrics cannot be compared.")
    return found


def _scores(runs: list[RunRecords]) -> Section:
    """One table: rows are metrics and costs, columns are runs."""
    rows = [["model", *(describe_model(run.config).split(" · ")[-1] for run in runs)]]
    for split in ("test", "validation"):
        values = [metrics_of(run.summary, split) for run in runs]
        for name in dict.fromkeys(name for found in values for name in found):
            rows.append([f"{split} {metric_name(name)}", *_with_changes([found.get(name) for found in values], name)])
    for key, (name, text) in _COSTS.items():
        values = [run.summary.get(key) for run in runs]
        if any(value is not None for value in values):
            rows.append([name, *("–" if value is None else text(value) for value in values)])
    caption = f"Small: difference from {runs[0].name}. ▲ is better, ▼ is worse."
    return Section("results", "Results", "", [Table(caption, ["", *(run.name for run in runs)], rows, wide=True)])


def _with_changes(values: list[float | None], name: str) -> list[str]:
    first, cells = values[0], [four_digits(values[0])]
    for value in values[1:]:
        text = four_digits(value)
        if value is not None and first and value != first:
            better = (value < first) == less_is_better(name)
            text += f"\n{'▲' if better else '▼'} {change(value, first)}"
        cells.append(text)
    return cells


def _curves(runs: list[RunRecords]) -> list[Section]:
    """Curves of all runs in the same charts; none where they learn different things, with losses of other units."""
    section = curves(runs) if len({run.ranking for run in runs}) == 1 else None
    return [] if section is None else [section]


def _fails(runs: list[RunRecords]) -> list[Section]:
    found = {run.name: run.summary for run in runs if "rmse_by_user_ratings" in run.summary}
    figures = degree_figures(found) if found else []
    text = "RMSE of test ratings by how much was known in training. Grey bars: ratings in each bucket of the first run."
    return [Section("fails", "Where they fail", text, figures)] if figures else []


def _differences(runs: list[RunRecords]) -> Section:
    """The options that are not the same in all runs."""
    options = [run.options for run in runs]
    names = [name for name in dict.fromkeys(name for each in options for name in each) if name not in _OWN]
    rows = [[name, *(each.get(name, "–") for each in options)] for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    text = "Options that differ." if rows else "All options are the same."
    items = [Table("", ["option", *(run.name for run in runs)], rows, wide=True)] if rows else []
    return Section("options", "Configuration", text, items)
