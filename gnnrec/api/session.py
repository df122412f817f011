"""What all functions of the API share: options as they are typed, DataFrames as files, signals as they were before."""

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

Options = TypeVar("Options")


def read_options(kind: type[Options], values: dict[str, Any]) -> Options:
    """A dataclass of options from keywords, checked like the command line.

    Args:
        kind: The dataclass.
        values: Its fields; those that are None are left at their defaults.

    Raises:
        UserError: An unknown name or a value that cannot be.
    """
    parser = Parser()
    parser.add_class_arguments(kind)
    read: Any = parser.instantiate(parser.parse_args(words_of(given(values))))
    fields: tuple[dataclasses.Field, ...] = dataclasses.fields(cast(Any, kind))
    return kind(**{field.name: read[field.name] for field in fields})


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Keywords that are not None."""
    return {name: value for name, value in values.items() if value is not None}


@contextlib.contextmanager
def file_of(table: pd.DataFrame | Path | str | None, kind: str) -> Iterator[Path | None]:
    """A file to read: the one that is named, or a Parquet file with a DataFrame, for as long as the block lasts.

    Args:
        table: A DataFrame, a path, or nothing.
        kind: ``ratings`` or ``movies``.

    Raises:
        UserError: Columns that Parquet has no type for; and what reading complains of, with the DataFrame in the place
            of the file.
    """
    if table is None or isinstance(table, (str, Path)):
        yield None if table is None else Path(table)
        return
    with tempfile.TemporaryDirectory(prefix="gnnrec-") as directory:
        path = Path(directory) / f"{kind}.parquet"
        try:
            table.to_parquet(path, index=False)
        except (ValueError, TypeError) as error:  # pyarrow's errors are of these kinds
            reason = " ".join(str(error).split())
            raise UserError(f"the DataFrame of {kind} has a column of mixed types ({reason}): convert it") from None
        try:
            yield path
        except UserError as error:
            raise UserError(str(error).replace(str(path), f"the DataFrame of {kind}")) from None


@contextlib.contextmanager
def session(device: str) -> Iterator[World]:
    """The ranks of this process, which is one unless torchrun started it; signals are afterwards taken as before.

    While the block lasts, Ctrl-C asks for an orderly stop (a run is saved) and a second one insists. Afterwards the
    signal has its usual effect: Ctrl-C is a KeyboardInterrupt.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
    """
    from gnnrec.distributed import process_group

    log_to_console(unless_configured=True)
    process_group.share_cores()
    with contextlib.ExitStack() as afterwards:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                afterwards.callback(signal.signal, number, signal.getsignal(number))
        with process_group.process_group(device) as world:
            ended = None
            try:
                yield world
            except Stopped as stopped:
                ended = stopped
    if world.stop.code in SIGNALS:
        if ended is not None:
            logger.info("stopped %s", ended)
        signal.raise_signal(world.stop.code)
    if ended is not None:
        raise ended
