"""``gnnrec.evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gnnrec.api.python_names import python_errors
from gnnrec.api.session import read_options, session
from gnnrec.api.training import Run, run_directory
from gnnrec.evaluation.metrics import Metrics
from gnnrec.inference.evaluate import EvaluateOptions
from gnnrec.inference.evaluate import evaluate as evaluate_run


@python_errors()
def evaluate(
    run: Run | Path | str,
    *,
    checkpoint: str = "best",
    k: Sequence[int] = (),
    data: Path | str | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Measures a run on its held-out ratings, like ``gnnrec evaluate``.

    Args:
        run: A run or a run directory.
        checkpoint: ``best`` or ``last``.
        k: Lengths of lists at which further metrics are computed (:mod:`gnnrec.evaluation.list_metrics`).
        data: The prepared dataset, if it has moved since training.
        device: ``auto`` (CUDA if available), ``cpu`` or ``cuda``.

    Returns:
        A row for ``test``, and for ``validation`` unless the run was trained on it; a column for each metric, such as
        ``rmse`` and ``mae``, and ``recall@20`` and ``ndcg@20`` of the lists; with ``k`` also ``hit_rate@10`` and so on.

    Raises:
        UserError: Bad input.
    """
    values = {"checkpoint": checkpoint, "k": list(k), "data": data, "device": device}
    options = read_options(EvaluateOptions, values)
    with session(options.device) as world:
        results = evaluate_run(run_directory(run), options, world)
    return pd.DataFrame({split: _figures(metrics) for split, metrics in results.items()}).T


def _figures(metrics: list[Metrics]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for part in metrics:
        figures = figures | getattr(part, "at", {}) | part.figures()
    return figures
