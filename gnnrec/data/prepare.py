"""``gnnrec prepare``: converts ratings files to a prepared dataset."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from gnnrec.data import formats, manifest_builder
from gnnrec.data.out_of_core.size import gigabytes_in_memory, memory_limit
from gnnrec.data.prepare_in_memory import prepare_in_memory
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.data.prepared import MANIFEST, Manifest, PreparedDataset
from gnnrec.data.threads import one_torch_thread
from gnnrec.errors import UserError
from gnnrec.utils import files

__all__ = ["PrepareOptions", "prepare"]


def prepare(out: Path, options: PrepareOptions) -> Manifest:
    """Reads, checks, encodes, splits and writes a dataset, and prints a short summary.

    The result depends on the ratings and the options only, not on the order of the rows in the file or the engine.

    Args:
        out: The directory to write; it appears when it is complete.
        options: See :class:`PrepareOptions`.

    Raises:
        UserError: Bad options or bad input.
    """
    started = time.perf_counter()
    out = Path(out)
    options.check()
    files.check_replaceable(out, options.overwrite, MANIFEST)
    ratings_paths, movies_path = _input_files(options)
    columns = options.named_columns()
    layouts = [formats.detect_layout(path, formats.RATINGS_ROLES, columns) for path in ratings_paths]
    open_output = functools.partial(files.complete_directory, out, options.overwrite, MANIFEST)
    try:
        with one_torch_thread():
            if _use_memory_engine(layouts, options):
                manifest = prepare_in_memory(open_output, layouts[0], movies_path, options)
            else:
                # Imported late because most datasets fit into memory.
                from gnnrec.data.out_of_core.prepare import prepare_out_of_core

                manifest = prepare_out_of_core(out, open_output, layouts, movies_path, options)
    except OSError as error:
        raise UserError(
            f"{out}: cannot write there ({files.error_text(error)}): make room or choose another directory"
        ) from None
    manifest_builder.print_summary(out, manifest, PreparedDataset(out).user_ptr, time.perf_counter() - started)
    return manifest


def _use_memory_engine(layouts: list[formats.Layout], options: PrepareOptions) -> bool:
    """Returns whether all ratings are read into memory at once."""
    if len(layouts) > 1:
        if options.engine == "memory":
            raise UserError(
                f"--engine memory takes one ratings file, not {len(layouts)}: omit --engine or concatenate the files"
            )
        if options.order == "metis":
            raise UserError(
                f"--order metis takes one ratings file, not {len(layouts)}: choose balanced or concatenate the files"
            )
    if options.engine != "auto":
        return options.engine == "memory"
    fits = options.order == "metis" or gigabytes_in_memory(layouts[0]) <= memory_limit(options)
    return len(layouts) == 1 and fits


def _input_files(options: PrepareOptions) -> tuple[list[Path], Path | None]:
    if options.dataset is not None:
        from gnnrec.data.download import fetch

        ratings = [formats.locate_ratings(fetch(options.dataset, options.download_dir))]
    else:
        ratings = formats.locate_all_ratings(options.ratings)
    if options.movies is not None:
        _check_movies(options.movies, options)
        return ratings, options.movies
    return ratings, formats.locate_movies(ratings[0]) if len(ratings) == 1 else None


def _check_movies(path: Path, options: PrepareOptions) -> None:
    """Refuses a movies file without titles and genres, such as a ratings file."""
    layout = formats.detect_layout(path, formats.MOVIES_ROLES, options.named_columns(formats.MOVIES_ROLES))
    if not {"title", "genres"} & set(layout.columns):
        raise UserError(
            f"--movies {path} line 1: no title or genres column among {', '.join(layout.header)}: name one with "
            "--title-column or --genres-column, or pass another file"
        )
