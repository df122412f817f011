"""Names of metrics and formats of numbers on the page."""

from __future__ import annotations

#: Metric -> name on the page.
_METRICS = {"rmse": "RMSE", "mae": "MAE", "mrr": "MRR", "ndcg@100": "NDCG@100", "coverage": "coverage"}
_METRICS |= {"rmse_without_time": "RMSE without time", "mae_without_time": "MAE without time"}
_METRICS |= {"recall@20": "Recall@20", "recall@50": "Recall@50", "ndcg@20": "NDCG@20"}
_METRICS |= {"popular": "share of popular movies"}
#: Metrics for which lower is better.
_ERRORS = ("rmse", "mae", "rmse_without_time", "mae_without_time")


def metric_name(name: str) -> str:
    """Returns the name of a metric on the page, such as ``RMSE`` for ``rmse``."""
    return _METRICS.get(name, name)


def lower_is_better(name: str) -> bool:
    """Returns whether a metric is an error."""
    return name in _ERRORS


def headline_metric(ranking: bool, timed: bool) -> str:
    """Returns the main metric, which selects the best checkpoint.

    Args:
        ranking: Whether the model ranks movies; otherwise it predicts ratings.
        timed: Whether its predictions use the times of ratings; the main error is then the one without them.
    """
    return "ndcg@100" if ranking else "rmse_without_time" if timed else "rmse"


def metrics_of(summary: dict, split: str) -> dict[str, float]:
    """Returns metric -> value of one split, without missing values."""
    values = {key.removeprefix(f"{split}_"): value for key, value in summary.items() if key.startswith(f"{split}_")}
    return {name: value for name, value in values.items() if name in _METRICS and value is not None}


def four_digits(value: float | None) -> str:
    """Formats a metric, such as ``0.7814``; a dash stands for None."""
    return "–" if value is None else f"{value:.4f}"


def change(value: float, other: float) -> str:
    """Formats the relative difference from ``other``, such as ``−9.3 %``."""
    if not other:
        return ""
    percent = 100 * (value / other - 1)
    sign = "+" if percent > 0 else "−" if percent < 0 else "±"
    return f"{sign}{abs(percent):.1f} %"


def compared(value: float, other: float) -> str:
    """Formats the relative difference from ``other`` in words, such as ``9.3 % lower``."""
    if not other:
        return ""
    percent = 100 * (value / other - 1)
    if f"{abs(percent):.1f}" == "0.0":
        return "the same"
    return f"{abs(percent):.1f} % {'higher' if percent > 0 else 'lower'}"


def seconds(value: float) -> str:
    """Formats a duration: ``0.8 s``, ``42 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def short(value: float) -> str:
    """Formats a large number: ``1.12 M``, ``58 k`` or ``730``."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
