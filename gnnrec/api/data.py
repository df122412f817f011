"""``gnnrec.prepare``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.api.python_names import python_errors
from gnnrec.api.session import as_file, named_files, read_options
from gnnrec.data.prepare import PrepareOptions
from gnnrec.data.prepare import prepare as write
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from gnnrec.utils.log import log_to_console

if TYPE_CHECKING:
    import pandas as pd

    from gnnrec.api.session import Tables


@python_errors()
def prepare(
    out: Path | str,
    ratings: pd.DataFrame | Path | str | None = None,
    *,
    movies: pd.DataFrame | Path | str | None = None,
    movie_features: Tables = None,
    user_features: Tables = None,
    dataset: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> PreparedDataset:
    """Reads, checks and splits ratings, like ``gnnrec prepare``.

    Args:
        out: Directory to create.
        ratings: A DataFrame or a file whose rows have a user, a movie, a rating and optionally a time.
        movies: A DataFrame or a file with titles and genres of the movies.
        movie_features: A DataFrame or a file with a row of features for each movie, or a list of them.
        user_features: The same for users.
        dataset: Name of a MovieLens dataset to download instead of ratings, such as ``ml-latest-small`` or ``ml-1m``.
        overwrite: Replace an existing directory.
        **options: Further options of the command, such as ``protocol="strong"``, ``test=0.2``,
            ``user_column="customer"``, ``implicit=True``, ``not_rated=[99, -1]``, ``train_file="train.csv"``.

    Returns:
        The prepared dataset; ``gnnrec.PreparedDataset(out)`` opens it again.

    Raises:
        UserError: Bad input, or an unknown option.
    """
    if options.get("dry_run"):
        raise UserError("dry_run prepares nothing to return: run gnnrec prepare --dry-run")
    if "not_rated" in options:
        codes = options["not_rated"]
        options["not_rated"] = [str(code) for code in (codes if isinstance(codes, (list, tuple)) else [codes])]
    log_to_console(unless_configured=True)
    with contextlib.ExitStack() as files:
        source: dict[str, Any] = {"dataset": dataset, "overwrite": overwrite}
        source |= named_files(files, movies, movie_features, user_features)
        source["ratings"] = files.enter_context(as_file(ratings, "ratings"))
        write(Path(out), read_options(PrepareOptions, source | options))
    return PreparedDataset(out)
