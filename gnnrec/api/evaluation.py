"""``gnnrec.evaluate``."""

from __future__ import annotations

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
    run: Run | Path | str, *, checkpoint: str = "best", data: Path | str | None = None, device: str = "auto"
) -> pd.DataFrame:
    """Measures a run on its held-out ratings, like ``gnnrec evaluate``.

    Args:
        run: A run or a run directory.
        checkpoint: ``best`` or ``last``.
        data: The prepared dataset, if it has moved since training.
        device: ``auto`` (CUDA if available), ``cpu`` or ``cuda``.

    Returns:
        A row for ``test``, and for ``validation`` unless the run was trained on it; a column for each metric, such as
        ``rmse`` and ``mae``, and ``recall@20`` and ``ndcg@20`` of the lists.

    Raises:
        UserError: Bad input.
    """
    options = read_options(EvaluateOptions, {"checkpoint": checkpoint, "data": data, "device": device})
    with session(options.device) as world:
        results = evaluate_run(run_directory(run), options, world)
    return pd.DataFrame({split: _figures(metrics) for split, metrics in results.items()}).T


def _figures(metrics: list[Metrics]) -> dict[str, float | None]:
    return {name: value for part in metrics for name, value in part.figures().items()}
