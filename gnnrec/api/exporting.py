"""``gnnrec.export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.api.python_names import python_errors
from gnnrec.api.session import as_file, as_files, read_options, session
from gnnrec.api.training import Run, run_directory
from gnnrec.inference.export import ExportOptions
from gnnrec.inference.export import export as write_export

if TYPE_CHECKING:
    import pandas as pd

    from gnnrec.api.session import Tables


@python_errors()
def export(
    run: Run | Path | str,
    out: Path | str,
    *,
    formats: list[str] | None = None,
    movie_features: Tables = None,
    ratings: pd.DataFrame | Path | str | None = None,
    user_features: Tables = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Writes embeddings of all users and movies to files, like ``gnnrec export`` (docs/export.md).

    The same call resumes an interrupted export.

    Args:
        run: A run or a run directory.
        out: Directory to create.
        formats: Formats in addition to Parquet: ``npy``, and ``faiss`` for an index of movies.
        movie_features: A DataFrame or a file with features of movies that are not in the dataset, or a list of them:
            the vectors of these movies come from their features alone.
        ratings: A DataFrame or a file of ratings whose users replace those of the dataset. New users are embedded from
            these ratings alone.
        user_features: DataFrames or files with features of users, who replace those of the dataset, with ``ratings`` or
            without any.
        overwrite: Replace an existing export.
        **options: Further options of the command: ``checkpoint``, ``dtype``, ``chunk``, ``part_rows``, ``data``,
            ``device`` and others.

    Returns:
        The directory, which :func:`gnnrec.recommend`, :func:`gnnrec.similar` and :func:`gnnrec.embed` read.

    Raises:
        UserError: Bad input, an unknown option, or a directory that cannot be written.
    """
    with (
        as_file(ratings, "ratings") as file,
        as_files(movie_features, "movie_features") as of_movies,
        as_files(user_features, "user_features") as of_users,
    ):
        values = {"out": Path(out), "formats": formats, "ratings": file, "overwrite": overwrite}
        values |= {"movie_features": of_movies, "user_features": of_users}
        parsed = read_options(ExportOptions, values | options)
        with session(parsed.device) as world:
            write_export(run_directory(run), parsed, world)
    return Path(out)
