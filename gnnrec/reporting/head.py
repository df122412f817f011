"""The top of the page: description of the run, main results and warnings."""

from __future__ import annotations

from gnnrec.config.train_config import TrainConfig
from gnnrec.evaluation.metrics import in_order
from gnnrec.reporting.content import Tile
from gnnrec.reporting.metric_names import (
    compared,
    four_digits,
    headline_metric,
    lower_is_better,
    metric_name,
    metrics_of,
    seconds,
    short,
)
from gnnrec.reporting.opened_run import OpenedRun
from gnnrec.reporting.run_records import RunRecords
from gnnrec.reporting.spikes import spike_notices

_ARCHITECTURES = {"sage": "GraphSAGE", "gcn": "GCN", "gat": "GAT"}


def subtitle(records: RunRecords) -> str:
    """Describes model and data in one line."""
    counts = records.summary.get("counts", {})
    amounts = [f"{counts[name]:,} {name}" for name in ("users", "movies", "ratings") if name in counts]
    return " · ".join([describe_model(records.config), *([", ".join(amounts)] if amounts else [])])


def describe_model(config: TrainConfig) -> str:
    """Describes the model, such as ``Rating prediction · GraphSAGE, 1 layer, 64 dimensions``."""
    if config.objective == "ranking":
        start = {"closed_form": "from a closed form", "random": "from random tables"}[config.ranking.start]
        return f"Ranking · linear GNN {start}, {config.ranking.dim} dimensions"
    model = config.model
    name = _ARCHITECTURES.get(model.architecture, model.architecture)
    layers = f"{model.layers} layer{'s' if model.layers != 1 else ''}"
    neighbors = "sampled neighbors" if config.loader.samples else "all neighbors"
    return f"Rating prediction · {name}, {layers}, {model.dim} dimensions, {neighbors}"


def facts(records: RunRecords) -> dict[str, str]:
    """Returns start time, data, machine and versions."""
    summary, facts = records.summary, {}
    if records.began:
        facts["started"] = records.began
    facts["dataset"] = str(records.config.data)
    if "world_size" in summary:
        ranks = summary["world_size"]
        facts["trained on"] = f"{ranks} rank{'s' if ranks != 1 else ''}, {summary.get('device', '')}"
    if summary.get("stopped_early"):
        facts["stopped early"] = f"after {summary['epochs']} of {records.config.optimizer.epochs} epochs"
    if "gnnrec_version" in summary:
        facts["versions"] = f"gnnrec {summary['gnnrec_version']}, torch {summary.get('torch_version', 'unknown')}"
    for name in ("model", "dataset"):
        if f"{name}_fingerprint" in summary:
            facts[f"{name} fingerprint"] = summary[f"{name}_fingerprint"][:12]
    return facts


def tiles(records: RunRecords) -> list[Tile]:
    """Returns test metrics, then the cost of training."""
    summary, tiles = records.summary, []
    test = metrics_of(summary, "test")
    first = headline_metric(records.ranking, records.timed)
    for name in sorted(in_order([test]), key=lambda name: name != first)[:3]:
        tiles.append(Tile(four_digits(test[name]), f"test {metric_name(name)}", _against_baselines(records, name)))
    for name, value in metrics_of(summary, "validation").items():
        if name == first:
            note = f"best: epoch {summary['best_epoch']}"
            tiles.append(Tile(four_digits(value), f"validation {metric_name(name)}", note))
    if not records.ended:
        series = records.series(f"validation_{first}")
        if len(series):
            last = series.iloc[-1]
            note = f"at step {int(last['step']):,}"
            tiles.append(Tile(four_digits(last["value"]), f"validation {metric_name(first)} so far", note))
        if records.metrics:
            tiles.append(Tile(f"{records.last_step:,}", "steps recorded"))
    if summary.get("training_seconds") is not None:
        tiles.append(Tile(seconds(summary["training_seconds"]), "training time", f"{summary['steps']:,} steps"))
    if summary.get("edges_per_second"):
        tiles.append(Tile(short(summary["edges_per_second"]), "training ratings per second"))
    if summary.get("peak_memory_gib"):
        tiles.append(Tile(f"{summary['peak_memory_gib']:.2f} GiB", "peak memory of a rank"))
    return tiles


def notices(records: RunRecords, opened: OpenedRun | None) -> list[str]:
    """Returns warnings about the run."""
    notices = []
    if not records.ended:
        state = f"was stopped {records.stopped}" if records.stopped else "has not ended"
        last = f"its last record is of step {records.last_step:,}" if records.metrics else "it has no records"
        notices.append(f"This run {state}: {last}, and it has no test results yet.")
        if opened is None:
            notices.append("Nothing has been saved yet, so there are only its records to show.")
    elif "no_test_metrics" in records.summary:
        notices.append(f"There are no test results: {records.summary['no_test_metrics']}.")
    elif not metrics_of(records.summary, "test"):
        notices.append("The dataset has no test ratings, so there are no test results.")
    if opened is not None and opened.diverged:
        notices.append("The model diverged: its vectors are NaN or infinite, so sections about them are left out.")
    return [*notices, *spike_notices(records)]


def _against_baselines(records: RunRecords, metric: str) -> str:
    """Formats the difference from the best baseline."""
    value = records.summary[f"test_{metric}"]
    scores = {name: row.get(f"test_{metric}") for name, row in (records.summary.get("baselines") or {}).items()}
    scores = {name: score for name, score in scores.items() if score is not None}
    if not scores:
        return ""
    best = (min if lower_is_better(metric) else max)(scores, key=scores.get)
    difference = compared(value, scores[best])
    return f"{difference} {'as' if difference == 'the same' else 'than'} {best}" if difference else ""
