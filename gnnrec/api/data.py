"""``gnnrec.prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.api.session import file_of, read_options
from gnnrec.data.prepare import PrepareOptions
from gnnrec.data.prepare import prepare as write
from gnnrec.data.prepared import PreparedDataset
from gnnrec.utils.log import log_to_console

if TYPE_CHECKING:
    import pandas as pd


def prepare(
    out: Path | str,
    ratings: pd.DataFrame | Path | str | None = None,
    *,
    movies: pd.DataFrame | Path | str | None = None,
    dataset: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> PreparedDataset:
    """Reads, checks and splits ratings, as ``gnnrec prepare`` does.

    Args:
        out: The directory to make.
        ratings: A DataFrame or a file with a user, a movie, a rating and, where known, a time in each row.
        movies: A DataFrame or a file with titles and genres of the movies.
        dataset: A MovieLens dataset to download, in place of ratings: ``ml-latest-small``, ``ml-1m`` and so on.
        overwrite: Replace the directory, where it is there already.
        **options: Further options of the command: ``protocol="strong"``, ``test=0.2``, ``user_column="customer"``.

    Returns:
        The prepared dataset; ``gnnrec.PreparedDataset(out)`` opens it again.

    Raises:
        UserError: Bad input, or an option that there is not.
    """
    log_to_console(unless_configured=True)
    with file_of(ratings, "ratings") as ratings_file, file_of(movies, "movies") as movies_file:
        source = {"ratings": ratings_file, "movies": movies_file, "dataset": dataset, "overwrite": overwrite}
        write(Path(out), read_options(PrepareOptions, source | options))
    return PreparedDataset(out)
