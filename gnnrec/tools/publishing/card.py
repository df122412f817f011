"""The model card of a published run: ``README.md`` with metadata for the Hugging Face hub, figures and protocol."""

from __future__ import annotations

from typing import Any

import yaml

from gnnrec.reporting.head import describe_model
from gnnrec.reporting.metric_names import metric_name, metrics_of
from gnnrec.reporting.run_records import RunRecords
from gnnrec.tools.publishing.options import PublishOptions

#: Metrics of the card, of which a run has those of its ratings and those of its lists.
_METRICS = ("rmse_without_time", "mae_without_time", "rmse", "mae")
_LIST_METRICS = ("recall@20", "ndcg@20", "coverage")
#: The task of the hub that is nearest.
_TASK = "graph-ml"


def model_card(name: str, records: RunRecords, description: dict[str, Any], options: PublishOptions) -> str:
    """Writes the card.

    Args:
        name: Name of the model, in its title.
        records: The run.
        description: ``config.json`` of the folder.
        options: Options of ``gnnrec publish``.
    """
    metadata = _metadata(name, records, description, options)
    text = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=120)
    parts = [
        f"# {name}",
        _introduction(records, description),
        "## Results",
        _results(records),
        "## Protocol",
        _protocol(records, description),
        "## Use",
        _use(name, options),
        "## Limits",
        _limits(records, options),
    ]
    return f"---\n{text}---\n\n" + "\n\n".join(parts) + "\n"


def _metadata(name: str, records: RunRecords, description: dict[str, Any], options: PublishOptions) -> dict[str, Any]:
    dataset = description["dataset_fingerprint"][:12]
    results = [
        {"type": metric, "name": f"Test {metric_name(metric)}", "value": value}
        for metric, value in _test_metrics(records).items()
    ]
    metadata: dict[str, Any] = {
        "library_name": "gnnrec",
        "pipeline_tag": _TASK,
        **({"license": options.license} if options.license else {}),
        "tags": ["gnnrec", "recommender-system", "collaborative-filtering", "graph-neural-network"],
    }
    if results:
        index = {
            "task": {"type": _TASK, "name": "Rating prediction"},
            "dataset": {"type": f"gnnrec-{dataset}", "name": f"prepared dataset {dataset}", "split": "test"},
            "metrics": results,
        }
        metadata["model-index"] = [{"name": name, "results": [index]}]
    return metadata


def _test_metrics(records: RunRecords) -> dict[str, float]:
    """Test metrics of ratings, then of lists: name -> value."""
    found = metrics_of(records.summary, "test")
    lists = metrics_of(records.summary.get("lists") or {}, "test")
    ratings = {metric: found[metric] for metric in _METRICS if metric in found}
    return ratings | {metric: lists[metric] for metric in _LIST_METRICS if metric in lists}


def _introduction(records: RunRecords, description: dict[str, Any]) -> str:
    counts = description["dataset"]["counts"]
    return (
        f"{describe_model(records.config)}. Trained with gnnrec "
        f"{records.summary['gnnrec_version']} on {counts['ratings']:,} ratings of {counts['movies']:,} movies by "
        f"{counts['users']:,} users."
    )


def _results(records: RunRecords) -> str:
    metrics = _test_metrics(records)
    if not metrics:
        return records.summary.get("no_test_metrics", "There were no test ratings to score.").rstrip(".") + "."
    rows = {"this model": metrics}
    lists = (records.summary.get("lists") or {}).get("baselines", {})
    baselines = records.summary.get("baselines") or {}
    for name in [*baselines, *(name for name in lists if name not in baselines)]:
        rows[name] = metrics_of(baselines.get(name, {}), "test") | metrics_of(lists.get(name, {}), "test")
    lines = [
        "| | " + " | ".join(f"Test {metric_name(metric)}" for metric in metrics) + " |",
        "|---" + "|---:" * len(metrics) + "|",
    ]
    for name, values in rows.items():
        cells = [f"{values[metric]:.4f}" if metric in values else "" for metric in metrics]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _protocol(records: RunRecords, description: dict[str, Any]) -> str:
    split, rating = description["split"], description["dataset"]["rating"]
    counts = {name: count for name, count in split["counts"].items() if count}
    summary = records.summary
    lines = [
        f"- Split: `{split['protocol']}`, seed {split['seed']}; "
        + ", ".join(f"{count:,} {name.replace('_', ' ')} ratings" for name, count in counts.items())
        + ".",
        f"- Ratings: {rating['min']:g} to {rating['max']:g}, with a mean of {rating['mean']:.3f} in training.",
        "- Errors without time are those of exported vectors; the others know the times of the ratings they predict.",
        f"- Best of {summary['epochs']} epochs on validation: epoch {summary['best_epoch']}, after which nothing was "
        "chosen on test ratings.",
        f"- Seed {records.config.seed}; {summary['world_size']} ranks ({summary['device']}); torch "
        f"{summary['torch_version']}.",
        f"- Dataset {description['dataset_fingerprint']}, model {description['model_fingerprint']} (SHA-256).",
    ]
    return "\n".join(lines) + "\n\nAll options and figures are in `config.json`."


def _use(name: str, options: PublishOptions) -> str:
    return (
        "Start a run on ratings of your own from these weights. Rows are found by raw id, so ids of movies must be "
        "those of `dataset/movies.parquet`; others get new rows.\n\n"
        "```bash\n"
        "gnnrec prepare data/mine --ratings ratings.csv\n"
        f"gnnrec train --config {name}/config.yaml --data data/mine --run-dir runs/mine --init-from {name}\n"
        "```\n\n"
        "The weights are in the [safetensors](https://huggingface.co/docs/safetensors) format, so other programs read "
        "them too."
    )


def _limits(records: RunRecords, options: PublishOptions) -> str:
    users = (
        "It has the ids of users and their vectors, which tell what they like."
        if options.with_users
        else "It has neither ids nor vectors of users."
    )
    return (
        f"{users} It knows movies by their raters, so it repeats what is popular with them, and knows little of movies "
        "with few ratings. The figures are of the dataset above and say nothing about another one."
    )
