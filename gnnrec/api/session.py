"""Shared by the functions of the API: options from keywords, DataFrames as files, signal handling."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gnnrec.config.parser import Parser
from gnnrec.config.serialize import words_of
from gnnrec.distributed.shutdown import SIGNALS
from gnnrec.errors import Stopped, UserError
from gnnrec.utils.log import log_to_console, logger

if TYPE_CHECKING:
    import pandas as pd

    from gnnrec.distributed.world import World

    Table = pd.DataFrame | Path | str
    Tables = Table | list[Table] | None

Options = TypeVar("Options")


def read_options(kind: type[Options], values: dict[str, Any]) -> Options:
    """Creates a dataclass of options from keywords, with the checks of the command line.

    Args:
        kind: The dataclass.
        values: Field -> value; None stands for the default.

    Raises:
        UserError: An unknown name or an invalid value.
    """
    parser = Parser()
    parser.add_class_arguments(kind)
    parsed: Any = parser.instantiate(parser.parse_args(words_of(drop_none(values))))
    fields: tuple[dataclasses.Field, ...] = dataclasses.fields(cast(Any, kind))
    return kind(**{field.name: parsed[field.name] for field in fields})


def drop_none(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the keywords that are not None."""
    return {name: value for name, value in values.items() if value is not None}


@contextlib.contextmanager
def as_file(table: pd.DataFrame | Path | str | None, kind: str) -> Iterator[Path | None]:
    """Yields the path itself, or a temporary Parquet file with the DataFrame.

    Args:
        table: A DataFrame, a path, or None.
        kind: ``ratings``, ``movies``, ``pairs``, ``movie_features`` or ``user_features``.

    Raises:
        UserError: A column of mixed types; or an error of the block, with the DataFrame named instead of the file.
    """
    if table is None or isinstance(table, (str, Path)):
        yield None if table is None else Path(table)
        return
    with tempfile.TemporaryDirectory(prefix="gnnrec-") as directory:
        path = Path(directory) / f"{kind}.parquet"
        try:
            table.to_parquet(path, index=False)
        except (ValueError, TypeError) as error:  # pyarrow's errors are subclasses of these
            reason = " ".join(str(error).split())
            raise UserError(f"the DataFrame of {kind} has a column of mixed types ({reason}): convert it") from None
        try:
            yield path
        except UserError as error:
            raise UserError(str(error).replace(str(path), f"the DataFrame of {kind}")) from None


@contextlib.contextmanager
def as_files(tables: Tables, kind: str) -> Iterator[list[str]]:
    """Yields paths: of a table as :func:`as_file` takes it, of a list of them, or of none."""
    several = tables if isinstance(tables, (list, tuple)) else [] if tables is None else [tables]
    with contextlib.ExitStack() as files:
        yield [str(files.enter_context(as_file(table, kind))) for table in several]


def named_files(
    files: contextlib.ExitStack,
    movies: pd.DataFrame | Path | str | None,
    movie_features: Tables,
    user_features: Tables,
) -> dict[str, Any]:
    """Returns the options of these names, with DataFrames as files that are there until the stack is closed."""
    return {
        "movies": files.enter_context(as_file(movies, "movies")),
        "movie_features": files.enter_context(as_files(movie_features, "movie_features")),
        "user_features": files.enter_context(as_files(user_features, "user_features")),
    }


@contextlib.contextmanager
def session(device: str) -> Iterator[World]:
    """Opens the process group, of one rank except under torchrun, and finally restores signal handlers.

    Within the block Ctrl-C requests an orderly stop, which saves a run; a second Ctrl-C ends at once. After the block
    the signal has its usual effect: Ctrl-C raises KeyboardInterrupt.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
    """
    from gnnrec.distributed import process_group

    log_to_console(unless_configured=True)
    process_group.share_cores()
    with contextlib.ExitStack() as restore:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                restore.callback(signal.signal, number, signal.getsignal(number))
        with process_group.process_group(device) as world:
            stopped = None
            try:
                yield world
            except Stopped as error:
                stopped = error
    if world.stop.code in SIGNALS:
        if stopped is not None:
            logger.info("stopped %s", stopped)
        signal.raise_signal(world.stop.code)
    if stopped is not None:
        raise stopped
