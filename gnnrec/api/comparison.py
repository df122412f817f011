"""``gnnrec.compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from gnnrec.api.python_names import python_errors
from gnnrec.api.session import read_options, session
from gnnrec.config.serialize import words_of
from gnnrec.data.prepared import PreparedDataset
from gnnrec.tools.comparison.compare import CompareOptions
from gnnrec.tools.comparison.compare import compare as compare_models


@python_errors(set="options")
def compare(
    data: PreparedDataset | Path | str,
    out: Path | str,
    *,
    models: list[str] | None = None,
    seeds: int = 3,
    config: Path | str | None = None,
    label: str = "",
    intervals: str = "",
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Trains several models with several seeds, each in a separate process, like ``gnnrec compare``.

    Args:
        data: A prepared dataset or its directory.
        out: Directory to create: ``comparison.json``, ``comparison.csv``, ``comparison.md``, and every fit.
        models: Names of models and baselines; by default all that suit the data.
        seeds: Number of fits of each model.
        config: A YAML file of training options for the GNNs.
        label: Name of the row, if there is one model.
        intervals: Model from which ``comparison.json`` has the differences of all others, with 95 % confidence
            intervals.
        resume: Continue an interrupted comparison, or add models and seeds.
        overwrite: Replace an existing comparison.
        **options: Training options that override those of the file; sections are dictionaries, as in :func:`train`.

    Returns:
        A row for each model, with means and standard deviations (``_spread``) of its test metrics.

    Raises:
        UserError: Bad input, an unknown option, or a failed fit.
    """
    directory = data.directory if isinstance(data, PreparedDataset) else Path(data)
    values = {"out": out, "models": models, "seeds": seeds, "config": config, "label": label or None}
    values |= {
        "intervals": intervals or None,
        "resume": resume,
        "overwrite": overwrite,
        "set": [word[2:] for word in words_of(options)],
    }
    parsed = read_options(CompareOptions, values)
    # Each fit runs in separate processes, so these ranks need no device.
    with session("cpu") as world:
        compare_models(directory, parsed, world)
    return pd.read_csv(Path(out) / "comparison.csv")
