"""The top of the page: what the run is, and the figures that matter most."""

from __future__ import annotations

from gnnrec.config.train_config import TrainConfig
from gnnrec.reporting.content import Tile
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
from gnnrec.reporting.opened import OpenedRun
from gnnrec.reporting.run_records import RunRecords

_ARCHITECTURES = {"sage": "GraphSAGE", "gcn": "GCN", "gat": "GAT"}


def subtitle(records: RunRecords) -> str:
    """What was trained, on what, in one line."""
    counts = records.summary.get("counts", {})
    amounts = [f"{counts[name]:,} {name}" for name in ("users", "movies", "ratings") if name in counts]
    return " · ".join([describe_model(records.config), *([", ".join(amounts)] if amounts else [])])


def describe_model(config: TrainConfig) -> str:
    """``Rating prediction · GraphSAGE, 1 layer, 64 dimensions``."""
    if config.objective == "ranking":
        start = {"closed_form": "from a closed form", "random": "from random tables"}[config.ranking.start]
        return f"Ranking · linear GNN {start}, {config.ranking.dim} dimensions"
    model = config.model
    name = _ARCHITECTURES.get(model.architecture, model.architecture)
    layers = f"{model.layers} layer{'s' if model.layers != 1 else ''}"
    whole = "mini-batches, neighbours sampled" if config.loader.samples else "whole neighbourhoods"
    return f"Rating prediction · {name}, {layers}, {model.dim} dimensions, {whole}"


def facts(records: RunRecords) -> dict[str, str]:
    """When, where and with which versions."""
    summary, found = records.summary, {}
    if records.began:
        found["first record"] = records.began
    found["dataset"] = str(records.config.data)
    if "world_size" in summary:
        ranks = summary["world_size"]
        found["trained on"] = f"{ranks} rank{'s' if ranks != 1 else ''}, {summary.get('device', '')}"
    if "gnnrec_version" in summary:
        found["versions"] = f"gnnrec {summary['gnnrec_version']}, torch {summary.get('torch_version', 'unknown')}"
    for name in ("model", "dataset"):
        if f"{name}_fingerprint" in summary:
            found[f"{name} fingerprint"] = summary[f"{name}_fingerprint"][:12]
    return found


def tiles(records: RunRecords) -> list[Tile]:
    """Test metrics, then what they cost."""
    summary, found = records.summary, []
    test = metrics_of(summary, "test")
    first = headline_metric(records.ranking)
    for name in sorted(test, key=lambda name: name != first)[:3]:
        found.append(Tile(four_digits(test[name]), f"test {metric_name(name)}", _against_baselines(records, name)))
    for name, value in metrics_of(summary, "validation").items():
        if name == first:
            note = f"best: epoch {summary['best_epoch']}"
            found.append(Tile(four_digits(value), f"validation {metric_name(name)}", note))
    if not records.ended:
        series = records.series(f"validation_{first}")
        if len(series):
            last = series.iloc[-1]
            note = f"at step {int(last['step']):,}"
            found.append(Tile(four_digits(last["value"]), f"validation {metric_name(first)} so far", note))
        if records.metrics:
            found.append(Tile(f"{records.last_step:,}", "steps recorded"))
    if summary.get("training_seconds") is not None:
        found.append(Tile(seconds(summary["training_seconds"]), "of training", f"{summary['steps']:,} steps"))
    if summary.get("edges_per_second"):
        found.append(Tile(short(summary["edges_per_second"]), "ratings supervised a second"))
    if summary.get("peak_memory_gib"):
        found.append(Tile(f"{summary['peak_memory_gib']:.2f} GiB", "held by a rank at most"))
    return found


def notices(records: RunRecords, opened: OpenedRun | None) -> list[str]:
    """What the reader must know first."""
    found = []
    if not records.ended:
        what = f"was stopped {records.stopped}" if records.stopped else "has not ended"
        last = f"its last record is of step {records.last_step:,}" if records.metrics else "it has no records"
        found.append(f"This run {what}: {last}, and it has no test results yet.")
        if opened is None:
            found.append("Nothing has been saved yet, so there are only its records to show.")
    elif not metrics_of(records.summary, "test"):
        found.append("The dataset holds no test ratings out, so there are no test results.")
    if opened is not None and opened.diverged:
        found.append("The model diverged: its vectors are not finite numbers, so there is nothing to show of them.")
    return found


def _against_baselines(records: RunRecords, metric: str) -> str:
    """How far from the best baseline."""
    value = records.summary[f"test_{metric}"]
    scores = {name: row.get(f"test_{metric}") for name, row in (records.summary.get("baselines") or {}).items()}
    scores = {name: score for name, score in scores.items() if score is not None}
    if not scores:
        return ""
    best = (min if less_is_better(metric) else max)(scores, key=scores.get)
    return f"{change(value, scores[best])} against {best}"
