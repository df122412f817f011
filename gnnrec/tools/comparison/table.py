"""Rows of a comparison from its fits, and their formats: text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import statistics
from typing import Any

from gnnrec.evaluation.bootstrap import RESAMPLES
from gnnrec.evaluation.metrics import WITHOUT_TIME, in_order

#: Metric -> column heading.
_TITLES = {"rmse": "RMSE", "mae": "MAE", "recall@20": "Recall@20", "recall@50": "Recall@50", "ndcg@100": "NDCG@100"}
_TITLES |= {"mrr": "MRR", "rmse_without_time": "RMSE without time", "mae_without_time": "MAE without time"}


def row(fits: list[dict], **identity: Any) -> dict:
    """Returns one row of a table.

    Args:
        fits: Results of :func:`gnnrec.tools.comparison.fit.fit` for one model, with seeds.
        identity: First entries of the row, such as ``data``, ``protocol`` and ``model``.

    Returns:
        ``identity`` and ``seeds``, ``metrics`` (name -> mean and spread), ``validation`` (mean and spread of the loss,
        or None), ``seconds`` (mean), ``peak_memory_gib`` (largest) and ``setting`` (a list if fits differ).
    """
    validation = [fit["validation"] for fit in fits]
    settings = [fit["setting"] for fit in fits]
    return {
        **identity,
        "seeds": sorted({fit["seed"] for fit in fits}),
        "metrics": {
            name: spread([fit["metrics"][name] for fit in fits])
            for name, value in fits[0]["metrics"].items()
            if value is not None
        },
        "validation": None if None in validation else spread(validation),
        "seconds": round(statistics.fmean(fit["seconds"] for fit in fits), 2),
        "peak_memory_gib": round(max(fit["peak_memory_gib"] for fit in fits), 3),
        "setting": settings[0] if all(setting == settings[0] for setting in settings) else settings,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Returns mean and population standard deviation."""
    return {"mean": round(statistics.fmean(values), 6), "spread": round(statistics.pstdev(values), 6)}


def cells(rows: list[dict]) -> list[list[str]]:
    """Returns head and rows as text."""
    metrics = in_order([row["metrics"] for row in rows])
    head = ["model", *(f"test {_TITLES.get(name, name)}" for name in metrics), "validation loss", "seconds", "GiB"]
    body = [
        [
            row["model"],
            *(_with_spread(row["metrics"].get(name)) for name in metrics),
            _with_spread(row["validation"]),
            f"{row['seconds']:.1f}",
            f"{row['peak_memory_gib']:.2f}",
        ]
        for row in rows
    ]
    return [head, *body]


def _with_spread(value: dict[str, float] | None) -> str:
    return "-" if value is None else f"{value['mean']:.4f} ± {value['spread']:.4f}"


def as_text(rows: list[dict]) -> str:
    """Formats a table with aligned columns."""
    table = cells(rows)
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = [
        line[0].ljust(widths[0]) + "".join(f"  {text:>{width}}" for text, width in zip(line[1:], widths[1:]))
        for line in table
    ]
    return "\n".join(lines)


def as_markdown(rows: list[dict]) -> str:
    """Formats a Markdown table with a note about its columns."""
    head, *body = cells(rows)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{text}\n\n{note(rows)}\n"


def differences_as_markdown(rows: list[dict], reference: str) -> str:
    """Formats the differences of rows from one model as a Markdown table, with a sentence above it."""
    others = [row for row in rows if "differences" in row]
    metrics = in_order([{name: row["metrics"][name]["mean"] for name in row["differences"]} for row in others])
    head = ["model", *(f"test {_TITLES.get(name, name)}" for name in metrics)]
    body = [[row["model"], *(_with_interval(row["differences"].get(name)) for name in metrics)] for row in others]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] + ["---:"] * len(metrics), *body])
    return (
        f"\nDifferences from {reference}, with 95 % confidence intervals: both models are measured on the same users, "
        f"which are drawn with replacement {RESAMPLES:,} times.\n\n{text}\n"
    )


def _with_interval(value: dict[str, float] | None) -> str:
    return "-" if value is None else f"{value['value']:+.4f} ({value['low']:+.4f} to {value['high']:+.4f})"


def note(rows: list[dict]) -> str:
    """Describes the columns in a sentence."""
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    timed = any(name.endswith(WITHOUT_TIME) for name in in_order([row["metrics"] for row in rows]))
    without = "; without time: without the times of the test ratings, like exported vectors" if timed else ""
    return (
        f"Mean ± standard deviation over seeds {', '.join(map(str, seeds))}; seconds: mean of one fit, with a "
        f"baseline's search on validation; GiB: peak memory of a rank over all fits{without}."
    )


def as_csv(rows: list[dict]) -> str:
    """Formats a CSV table with mean and spread in separate columns."""
    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    pairs = [f"{name}{part}" for name in (*metrics, "validation") for part in ("", "_spread")]
    writer.writerow(["data", "protocol", "model", "seeds", *pairs, "seconds", "peak_memory_gib"])
    for line in rows:
        figures = [line["metrics"].get(name) for name in metrics] + [line["validation"]]
        values = [value for pair in figures for value in ((pair["mean"], pair["spread"]) if pair else ("", ""))]
        identity = [line["data"], line["protocol"], line["model"], len(line["seeds"])]
        writer.writerow([*identity, *values, line["seconds"], line["peak_memory_gib"]])
    return output.getvalue()
