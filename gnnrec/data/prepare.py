"""``gnnrec prepare``: converts ratings files to a prepared dataset."""

from __future__ import annotations

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

from gnnrec.data import formats, locate, manifest_builder, remote
from gnnrec.data.dry_run import dry_run
from gnnrec.data.features.job import FeatureJob
from gnnrec.data.features.kinds import FeatureSettings
from gnnrec.data.features.node_features import Node
from gnnrec.data.layout import MOVIES_ROLES, RATINGS_ROLES, Layout, shown_names
from gnnrec.data.leakage import audit_split
from gnnrec.data.out_of_core.size import gigabytes_in_memory, memory_limit
from gnnrec.data.prepare_in_memory import prepare_in_memory
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.data.prepared import MANIFEST, SPLIT_NAMES, UNUSED, Manifest, PreparedDataset
from gnnrec.data.split import check_times
from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.log import logger
from gnnrec.utils.option_names import dashed

__all__ = ["PrepareOptions", "prepare"]


def prepare(out: Path, options: PrepareOptions) -> Manifest | None:
    """Reads, checks, encodes, splits and writes a dataset, and prints a summary and how the files were understood.

    The result depends on the ratings and the options only, not on the order of the rows in the file or the engine.

    Args:
        out: The directory to write; it appears when it is complete.
        options: See :class:`PrepareOptions`.

    Returns:
        The manifest; None for ``dry_run``.

    Raises:
        UserError: Bad options or bad input.
    """
    started = time.perf_counter()
    out = Path(out)
    options.check()
    if not options.dry_run:
        files.check_replaceable(out, options.overwrite, MANIFEST)
    options = _with_local_copies(options)
    ratings_paths, movies_path = _input_files(options)
    layouts = layouts_of(ratings_paths, options)
    check_times(options.split_protocol, "timestamp" in layouts[0].columns)
    features = _read_features(options, movies_path)
    if options.dry_run:
        dry_run(layouts, movies_path, options)
        if features is not None:
            features.log_dry_run()
        return None
    open_output = functools.partial(files.complete_directory, out, options.overwrite, MANIFEST)
    try:
        if use_memory_engine(layouts, options):
            manifest, report = prepare_in_memory(open_output, layouts, movies_path, features, options)
        else:
            # Imported late because most datasets fit into memory, and its loops need torch.
            from gnnrec.data.out_of_core.prepare import prepare_out_of_core

            manifest, report = prepare_out_of_core(out, open_output, layouts, movies_path, features, options)
    except OSError as error:
        raise UserError(
            f"{out}: cannot write there ({files.error_text(error)}): make room or choose another directory"
        ) from None
    dataset = PreparedDataset(out)
    manifest_builder.print_summary(out, manifest, dataset.user_ptr, time.perf_counter() - started)
    report.log()
    if features is not None:
        features.log()
    if options.audit:
        for line in audit_split(dataset).lines():
            logger.info(f"  {line}")
    return manifest


def use_memory_engine(layouts: list[Layout], options: PrepareOptions) -> bool:
    """Returns whether all ratings are read into memory at once."""
    if options.engine != "auto" or options.order == "metis":
        return options.engine in ("auto", "memory")
    return len(layouts) == 1 and gigabytes_in_memory(layouts[0]) <= memory_limit(options)


def layouts_of(paths: list[tuple[Path, int | None]], options: PrepareOptions) -> list[Layout]:
    """Detects the layouts of all ratings files, which must have the same columns."""
    roles = tuple(role for role in RATINGS_ROLES if role != "rating" or not options.implicit)
    names = options.named_columns()
    if options.split_column is not None:
        roles, names = (*roles, "split"), names | {"split": options.split_column}
    layouts = [dataclasses.replace(formats.detect_layout(path, roles, names), split=split) for path, split in paths]
    _check_same_columns(layouts)
    return [
        dataclasses.replace(layout, implicit=options.implicit, not_rated=options.not_rated_codes())
        for layout in formats.with_ids(layouts, options.ids)
    ]


def _check_same_columns(layouts: list[Layout]) -> None:
    first = layouts[0]
    for layout in layouts[1:]:
        if layout.columns.keys() != first.columns.keys():
            role = sorted(first.columns.keys() ^ layout.columns.keys())[0]
            without, other = (layout, first) if role in first.columns else (first, layout)
            raise UserError(
                f"{without.path} has no {role} column, but {other.path} has one: give all files the same columns"
            )


def _with_local_copies(options: PrepareOptions) -> PrepareOptions:
    """Copies the files at addresses (``https://``, ``s3://``); returns the options with the paths of the copies."""
    names = ("ratings", "movies", *(f"{name}_file" for name in SPLIT_NAMES[:UNUSED]))
    paths = {name: getattr(options, name) for name in names}
    addresses = {name: path for name, path in paths.items() if path is not None and remote.is_remote(path)}
    copies: dict[str, Any] = {name: remote.local_copy(path, options.download_dir) for name, path in addresses.items()}
    for name in ("movie_features", "user_features"):
        copies[name] = [str(remote.local_copy(Path(path), options.download_dir)) for path in getattr(options, name)]
    return dataclasses.replace(options, **copies)


def _read_features(options: PrepareOptions, movies_path: Path | None) -> FeatureJob | None:
    paths: dict[Node, list[Path]] = {
        "user": [Path(path) for path in options.user_features],
        "movie": [Path(path) for path in options.movie_features],
    }
    id_names: dict[Node, str | None] = {"user": options.user_column, "movie": options.movie_column}
    settings = FeatureSettings(options.feature_dims, options.feature_count)
    catalog = (movies_path, options.movies_names()) if options.unrated_movies else None
    return FeatureJob.read(paths, options.feature_types, id_names, settings, catalog)


def _input_files(options: PrepareOptions) -> tuple[list[tuple[Path, int | None]], Path | None]:
    """The ratings files with the split that they were given as, and the movies file."""
    ratings: list[tuple[Path, int | None]] = []
    if options.dataset is not None:
        from gnnrec.data.download import fetch

        place = fetch(options.dataset, options.download_dir)
        ratings = [(locate.locate_ratings(place), None)]
    elif options.ratings is not None:
        place = options.ratings.expanduser()
        ratings = [(path, None) for path in locate.locate_all_ratings(place)]
    else:
        assert options.train_file is not None  # PrepareOptions.check
        place = options.train_file.expanduser()
        for split, name in enumerate(SPLIT_NAMES[:UNUSED]):
            if (given := getattr(options, f"{name}_file")) is not None:
                files_of_split = locate.locate_all_ratings(given, dashed(f"{name}_file"))
                ratings += [(path, split) for path in files_of_split]
    if options.movies is not None:
        _check_movies(options.movies, options)
        return ratings, options.movies
    return ratings, locate.locate_movies(place, [path for path, _ in ratings])


def _check_movies(path: Path, options: PrepareOptions) -> None:
    """Refuses a movies file without titles and genres, such as a ratings file."""
    layout = formats.detect_layout(path, MOVIES_ROLES, options.movies_names())
    if not {"title", "genres"} & set(layout.columns):
        raise UserError(
            f"--movies {path} line 1: no title or genres column among {shown_names(layout.header)}: name one with "
            "--title-column or --genres-column, or pass another file"
        )
