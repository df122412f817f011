"""``gnnrec.export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.api.python_names import python_errors
from gnnrec.api.session import as_file, read_options, session
from gnnrec.api.training import Run, run_directory
from gnnrec.inference.export import ExportOptions
from gnnrec.inference.export import export as write_export

if TYPE_CHECKING:
    import pandas as pd


@python_errors()
def export(
    run: Run | Path | str,
    out: Path | str,
    *,
    formats: list[str] | None = None,
    ratings: pd.DataFrame | Path | str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Writes embeddings of all users and movies to files, like ``gnnrec export`` (docs/export.md).

    The same call resumes an interrupted export.

    Args:
        run: A run or a run directory.
        out: Directory to create.
        formats: Formats in addition to Parquet: ``npy``, and ``faiss`` for an index of movies.
        ratings: A DataFrame or a file of ratings whose users replace those of the dataset. New users are embedded from
            these ratings alone.
        overwrite: Replace an existing export.
        **options: Further options of the command: ``checkpoint``, ``dtype``, ``chunk``, ``part_rows``, ``data``,
            ``device`` and others.

    Returns:
        The directory, which :func:`gnnrec.recommend`, :func:`gnnrec.similar` and :func:`gnnrec.embed` read.

    Raises:
        UserError: Bad input, an unknown option, or a directory that cannot be written.
    """
    with as_file(ratings, "ratings") as file:
        values = {"out": Path(out), "formats": formats, "ratings": file, "overwrite": overwrite}
        parsed = read_options(ExportOptions, values | options)
        with session(parsed.device) as world:
            write_export(run_directory(run), parsed, world)
    return Path(out)
