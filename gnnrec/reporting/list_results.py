"""Measures of the lists of a rating run, next to those of baselines."""

from __future__ import annotations

from gnnrec.reporting.content import Section, Table
from gnnrec.reporting.metric_names import compared, four_digits, metric_name
from gnnrec.reporting.run_records import RunRecords

#: Metrics of the table.
METRICS = ("recall@20", "ndcg@20", "coverage", "popular")
#: Those of which more is better.
_QUALITY = ("recall@20", "ndcg@20")


def list_results(records: RunRecords) -> Section | None:
    """Compares lists on liked test ratings; None for ranking runs, whose results are about lists, and without tests."""
    lists = records.summary.get("lists") or {}
    if not lists.get("users"):
        return None
    baselines = lists["baselines"]
    rows = [[name, *(_cell(row, lists, metric) for metric in METRICS)] for name, row in baselines.items()]
    rows.append(["this model", *(four_digits(lists[f"test_{metric}"]) for metric in METRICS)])
    head = ["", *(f"test {metric_name(metric)}" for metric in METRICS)]
    text = (
        f"What the lists of recommendations are worth, on the movies that {lists['users']:,} users like among their "
        f"test ratings. {describe_order(records)} Coverage: share of all movies among the first 20 of any user. "
        "Popular movies are the hundredth of all movies with the most ratings."
    )
    caption = "Small: this model relative to the baseline." if baselines else "No baselines were fitted."
    table = Table(caption, head, rows, strong=len(rows) - 1, wide=True)
    return Section("lists", "Lists", text, [table])


def describe_order(records: RunRecords) -> str:
    """Describes the order of the lists of a rating run in one or two sentences."""
    weight = records.summary.get("chosen", {}).get("rating_weight")
    if weight is None:
        return "They are in the order of predicted ratings."
    return (
        "They are in the order of interest, which tells the movies that a user is likely to rate at all (EASE on all "
        f"ratings), plus {weight:g} times the predicted rating."
    )


def _cell(row: dict, lists: dict, metric: str) -> str:
    value = row[f"test_{metric}"]
    compares = metric in _QUALITY and value
    return four_digits(value) + (f"\nthis model: {compared(lists[f'test_{metric}'], value)}" if compares else "")
