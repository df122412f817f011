"""Opens the vectors of a run or an export."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.api.session import as_file, as_files, read_options, session
from gnnrec.api.training import Run, run_directory
from gnnrec.inference.open_source import is_export, open_source
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource

if TYPE_CHECKING:
    import pandas as pd

    from gnnrec.api.session import Tables
    from gnnrec.distributed.world import World


@contextlib.contextmanager
def open_vectors(
    source: Run | Path | str,
    ratings: pd.DataFrame | Path | str | None,
    options: dict[str, Any],
    every_user: bool,
    user_features: Tables = None,
) -> Iterator[tuple[VectorSource, RecommendOptions, World | None]]:
    """Yields the vectors, the checked options, and the ranks (None where torch is not needed).

    Args:
        source: A run, a run directory or an export.
        ratings: Ratings whose users replace those of the dataset.
        options: Fields of :class:`~gnnrec.inference.recommend_options.RecommendOptions`.
        every_user: Whether vectors of all users are needed. For single users of an export torch is not imported.
        user_features: Features of users, who replace those of the dataset.
    """
    path = run_directory(source)
    with as_file(ratings, "ratings") as file, as_files(user_features, "user_features") as features:
        parsed = read_options(RecommendOptions, options | {"ratings": file, "user_features": features})
        if is_export(path) and not every_user:
            yield open_source(path, parsed), parsed, None
            return
        with session(parsed.device) as world:
            yield open_source(path, parsed, world), parsed, world
