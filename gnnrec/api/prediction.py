"""``gnnrec.predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from gnnrec.api.python_names import python_errors
from gnnrec.api.session import as_file, as_files, read_options, session
from gnnrec.api.training import Run, run_directory
from gnnrec.inference.predict import open_pairs
from gnnrec.inference.predict_options import PredictOptions

if TYPE_CHECKING:
    from gnnrec.api.session import Tables


@python_errors()
def predict(
    source: Run | Path | str,
    pairs: pd.DataFrame | Path | str,
    *,
    ratings: pd.DataFrame | Path | str | None = None,
    user_features: Tables = None,
    user_column: str | None = None,
    movie_column: str | None = None,
    checkpoint: str = "best",
    data: Path | str | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Returns the predicted rating of each pair of user and movie, in memory; ``gnnrec predict`` writes a file.

    Args:
        source: A run, a run directory or an export.
        pairs: A DataFrame or a file with a column of users and one of movies, by raw ids. Further columns are ignored.
        ratings: A DataFrame or a file of ratings whose users replace those of the dataset. New users are embedded from
            these ratings alone.
        user_features: DataFrames or files with features of users, who replace those of the dataset, with ``ratings`` or
            without any.
        user_column: Column of the users in the pairs, and in ``ratings``; by default guessed from usual names.
        movie_column: Column of the movies in the pairs, and in ``ratings``; by default guessed.
        checkpoint: Checkpoint of a run, ``best`` or ``last``.
        data: The prepared dataset, if it has moved since training.
        device: ``auto`` (CUDA if available), ``cpu`` or ``cuda``.

    Returns:
        A row for each pair, in the order and with the index of the pairs: columns ``user``, ``movie`` and
        ``prediction``, float32, clipped to the rating scale, NaN if the user or the movie is unknown. A ranking run
        predicts no ratings; its third column is ``score``.

    Raises:
        UserError: Bad input, or no pair with known ids.
    """
    options = {"user_column": user_column, "movie_column": movie_column, "checkpoint": checkpoint, "data": data}
    path = run_directory(source)
    with (
        as_file(pairs, "pairs") as pairs_file,
        as_file(ratings, "ratings") as ratings_file,
        as_files(user_features, "user_features") as features,
    ):
        values: dict[str, Any] = {**options, "pairs": pairs_file, "out": "none.parquet", "ratings": ratings_file}
        values |= {"user_features": features, "device": device}
        parsed = read_options(PredictOptions, values)
        with session(parsed.device) as world:
            file, scores = open_pairs(path, parsed, world)
            table = pa.concat_tables(scores.tables(file)).to_pandas()
    return table.set_index(pairs.index) if isinstance(pairs, pd.DataFrame) else table
