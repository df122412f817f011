"""``gnnrec.append`` and ``gnnrec.update``, for data that grow."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.api.python_names import python_errors
from gnnrec.api.session import as_files, named_files, read_options, session
from gnnrec.api.training import Run, run_directory
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.utils.log import log_to_console

if TYPE_CHECKING:
    import pandas as pd

    from gnnrec.api.session import Tables


@dataclasses.dataclass(frozen=True)
class Update:
    """A generation of a model whose data grow.

    Attributes:
        directory: Its directory, in that of all generations.
        run: The run that it was trained by.
        export: Vectors of all users and movies.
        delta: The vectors that the export before does not have.
        facts: Content of ``generation.json``: new ratings and their error before training, test errors, changed rows.
    """

    directory: Path
    run: Run
    export: Path
    delta: Path
    facts: dict[str, Any]


@python_errors()
def append(
    data: PreparedDataset | Path | str,
    ratings: Tables,
    *,
    movies: pd.DataFrame | Path | str | None = None,
    movie_features: Tables = None,
    user_features: Tables = None,
    **options: Any,
) -> PreparedDataset:
    """Appends ratings to a prepared dataset, like ``gnnrec prepare --append``.

    Args:
        data: A prepared dataset or its directory.
        ratings: A DataFrame or a file with new ratings, or a list of them.
        movies: A DataFrame or a file with titles and genres of new movies.
        movie_features: A DataFrame or a file with features of new movies, or a list of them.
        user_features: The same for users.
        **options: Further options of the command, such as ``again=True``, ``user_column="customer"``.

    Returns:
        The grown dataset; rows of users and movies stay what they were.

    Raises:
        UserError: Bad input; nothing was changed.
    """
    from gnnrec.data.growth.append import append as write

    log_to_console(unless_configured=True)
    directory = Path(data.directory if isinstance(data, PreparedDataset) else data)
    with contextlib.ExitStack() as files:
        given = named_files(files, movies, movie_features, user_features)
        given["append"] = files.enter_context(as_files(ratings, "ratings"))
        write(directory, read_options(AppendOptions, given | options))
    return PreparedDataset(directory)


@python_errors()
def update(
    source: Run | Path | str,
    ratings: Tables,
    *,
    out: Path | str | None = None,
    movies: pd.DataFrame | Path | str | None = None,
    movie_features: Tables = None,
    user_features: Tables = None,
    device: str = "auto",
    **options: Any,
) -> Update:
    """Makes the next generation of a model, like ``gnnrec update`` (docs/living.md): appends, trains, and exports.

    The same call resumes an interrupted update.

    Args:
        source: A directory of generations; or a finished rating run, which becomes the first one.
        ratings: A DataFrame or a file with new ratings, or a list of them.
        out: Directory of generations to make; by default the source.
        movies: A DataFrame or a file with titles and genres of new movies.
        movie_features: A DataFrame or a file with features of new movies, or a list of them.
        user_features: The same for users.
        device: ``auto`` (CUDA if available), ``cpu`` or ``cuda``.
        **options: Further options of the command, such as ``hold_back=0.01``, ``share=0.05``.

    Returns:
        The new generation.

    Raises:
        UserError: Bad input, or a generation that is held back; the current generation stays.
    """
    from gnnrec.tools.updating.generations import Generations
    from gnnrec.tools.updating.options import UpdateOptions
    from gnnrec.tools.updating.update import update as make

    path = run_directory(source)
    with contextlib.ExitStack() as files:
        given = named_files(files, movies, movie_features, user_features)
        given |= {"ratings": files.enter_context(as_files(ratings, "ratings")), "out": out, "device": device}
        parsed = read_options(UpdateOptions, given | options)
        with session(parsed.device) as world:
            make(path, parsed, world)
    made = Generations(parsed.out or path).current()
    return Update(made.path, Run(made.run), made.export, made.delta, made.facts)
