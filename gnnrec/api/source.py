"""Opens what vectors come from: a run or an export."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.api.session import file_of, read_options, session
from gnnrec.api.training import Run
from gnnrec.inference.recommend import is_export, open_source
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource

if TYPE_CHECKING:
    import pandas as pd

    from gnnrec.distributed.world import World


@contextlib.contextmanager
def opened(
    source: Run | Path | str, ratings: pd.DataFrame | Path | str | None, options: dict[str, Any], every_user: bool
) -> Iterator[tuple[VectorSource, RecommendOptions, World | None]]:
    """Vectors, checked options, and the ranks.

    Args:
        source: A run, a run directory or an export.
        ratings: Ratings whose users are meant, in place of those of the dataset.
        options: Fields of :class:`~gnnrec.inference.recommend_options.RecommendOptions`.
        every_user: All users are asked for. For some of an export torch is not needed, and there are no ranks.
    """
    path = source.directory if isinstance(source, Run) else Path(source)
    with file_of(ratings, "ratings") as file:
        read = read_options(RecommendOptions, options | {"ratings": file})
        if is_export(path) and not every_user:
            yield open_source(path, read), read, None
            return
        with session(read.device) as world:
            yield open_source(path, read, world), read, world
