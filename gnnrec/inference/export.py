"""Exports embeddings of all users and movies to Parquet, keyed by raw ids."""

from __future__ import annotations

import dataclasses
import io
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gnnrec.data.column_options import ColumnOptions
from gnnrec.data.features.new_movies import NewMovies
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export_directory import MANIFEST, ExportDirectory, ExportPart, split_into_parts
from gnnrec.inference.export_formats import DerivedFiles, read_formats
from gnnrec.inference.export_tracking import check_tracking, track_export
from gnnrec.inference.load import load_run
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.new_movies import NEW_MOVIES_FILE, AllMovies, catalog_table, find_new_movies
from gnnrec.inference.new_users import NewUsers, read_new_users
from gnnrec.inference.outputs import output_directory
from gnnrec.inference.partitioned import write_partitioned
from gnnrec.inference.user_encoder import UserEncoder, Vectors
from gnnrec.utils.addresses import address_of
from gnnrec.utils.bounds import bounded, check_bounds

_HEAD = "head.npz"


@dataclasses.dataclass
class ExportOptions(ColumnOptions):
    """Options of ``gnnrec export``.

    Args:
        out: Directory to make, or an address that fsspec opens (s3://). An interrupted export of the same run is
            resumed.
        checkpoint: Checkpoint to export.
        dtype: Type of the embeddings.
        formats: Formats, separated by commas: parquet (always written), npy (memory-mappable arrays, ids by row) and
            faiss (an index of movies).
        chunk: Users whose ratings are in memory at a time, which bounds the memory of a rank.
        part_rows: Rows in a Parquet file.
        movie_features: Files with features of movies that are not in the dataset, with the columns of those that it was
            prepared with: the vectors of these movies come from their features alone; by default none.
        ratings: Ratings file whose users to export instead of those of training, in any layout that gnnrec prepare
            reads: new users from these ratings alone, known ones from these and those of the dataset.
        user_features: Files with features of users to export instead of those of training, with the columns of those
            that the dataset was prepared with, with the ratings of --ratings or without any; by default none.
        data: Prepared dataset, if it has moved since training; by default the one that is recorded.
        device: Device of every rank; auto is CUDA if available, else the CPU.
        wandb: Log the export to W&B, in the project and mode of the training run: its manifest becomes an artifact made
            from that of the model.
        overwrite: Replace the export in the output directory if it is complete or of something else.
    """

    out: Path
    checkpoint: Literal["best", "last"] = "best"
    dtype: Literal["float32", "float16"] = "float32"
    formats: list[str] = dataclasses.field(default_factory=lambda: ["parquet"])
    chunk: int = bounded(65536, least=1)
    part_rows: int = bounded(100_000, least=1)
    movie_features: list[str] = dataclasses.field(default_factory=list)
    ratings: Path | None = None
    user_features: list[str] = dataclasses.field(default_factory=list)
    data: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    wandb: bool = False
    overwrite: bool = False


def export(run: Path, options: ExportOptions, world: World) -> dict:
    """Writes an export to a directory, or to an address (:mod:`gnnrec.inference.outputs`).

    Arguments, result and errors are those of :func:`export_files`.
    """
    address = address_of(options.out)
    if options.wandb and address:
        raise UserError(
            f"--wandb logs the path of an export on this machine, and --out is {address}: leave one of them out"
        )
    with output_directory(options.out, MANIFEST, options.overwrite, world) as out:
        return export_files(run, dataclasses.replace(options, out=out), world)


@torch.no_grad()
def export_files(run: Path, options: ExportOptions, world: World) -> dict:
    """Writes ``users/part-*.parquet``, ``movies/part-*.parquet`` and, once these are complete, ``manifest.json``.

    All ranks embed the movies together. The user parts are then divided evenly, whichever rank trained these users.

    Args:
        run: Run directory of ``train_dist.py``.
        options: The options.
        world: The ranks; every rank calls this, on a file system that they share.

    Returns:
        The manifest.

    Raises:
        UserError: Bad input, or a directory that cannot be written.
        Stopped: A rank was asked to stop; the same call resumes the export.
    """
    started = time.perf_counter()
    check_bounds(options)
    loaded = load_run(run, world, options.checkpoint, options.data)
    check_tracking(loaded, options.wandb)
    source = _read_source(loaded, options, world)
    new = find_new_movies(loaded, options.movie_features, options.movie_column)
    formats = read_formats(options.formats, loaded.scoring()["head"])
    directory = ExportDirectory(options.out)
    if world.run_on_rank0(lambda: directory.open(_identity(loaded, source, new, options, formats), options.overwrite)):
        world.log(f"{options.out} is already complete")
        return track_export(loaded, options.out, world.run_on_rank0(directory.manifest), options.wandb, world)
    encoder = _encoder(loaded, directory, options.chunk, world)
    movies = AllMovies.of(loaded, encoder, new)
    cold = source.cold if isinstance(source, NewUsers) else loaded.cold_users
    parts = {
        "movies": split_into_parts("movies", len(movies.ids), options.part_rows),
        "users": split_into_parts("users", source.num_users, options.part_rows),
    }
    names = [part.name for kind in parts.values() for part in kind]
    names += world.run_on_rank0(lambda: _write_movies(loaded, movies, directory, parts["movies"], options))
    users, missing = parts["users"], _write_users(source, encoder, directory, parts["users"], cold, options, world)
    derived = DerivedFiles(directory, formats, parts, encoder.movies.vector.shape[1], options.dtype)
    names += derived.write(world)
    manifest = _manifest(loaded, source, movies, options, encoder) | {"formats": list(formats)}
    manifest = world.run_on_rank0(lambda: directory.finish(names, manifest | derived.describe()))
    kept = f" ({len(users) - missing} of {len(users)} parts were already written)" if missing < len(users) else ""
    world.log(
        f"{options.out}: {source.num_users:,} users and {len(movies.ids):,} movies, "
        f"{manifest['dim']} x {options.dtype}, {time.perf_counter() - started:.1f} s{kept}"
    )
    return track_export(loaded, options.out, manifest, options.wandb, world)


def _read_source(loaded: LoadedRun, options: ExportOptions, world: World) -> PreparedDataset | NewUsers:
    """Returns the dataset, or the users of ``--ratings`` and ``--user-features``."""
    features = tuple(options.user_features)
    if options.ratings is None and not features:
        return loaded.dataset
    loaded.require_user_features(features)
    users = read_new_users(options.ratings, options.named_columns(), loaded.dataset, loaded.known_splits, features)
    world.log(users.report())
    return users


def _identity(
    loaded: LoadedRun,
    source: PreparedDataset | NewUsers,
    new: NewMovies | None,
    options: ExportOptions,
    formats: tuple[str, ...],
) -> dict:
    return {
        "model": loaded.info.fingerprint,
        "dataset": loaded.dataset.fingerprint,
        "users": source.fingerprint,
        "interest": loaded.interest_fingerprint,
        "dtype": options.dtype,
        "part_rows": options.part_rows,
        "formats": ",".join(formats),
        **({} if new is None else {"new_movies": new.fingerprint}),
    }


def _encoder(loaded: LoadedRun, directory: ExportDirectory, chunk: int, world: World) -> UserEncoder:
    """Builds the encoder, or restores that of an interrupted export so that old and new parts are consistent."""
    name = directory.state_file("encoder.pt")
    if world.run_on_rank0(lambda: directory.has(name)):
        state = torch.load(directory.path / name, map_location="cpu", weights_only=True)
        return loaded.encoder(chunk, state)
    encoder = loaded.encoder(chunk)
    world.run_on_rank0(lambda: directory.write(name, partial(_write_state, encoder.state())))
    return encoder


def _write_state(state: dict[str, torch.Tensor], path: Path) -> None:
    buffer = io.BytesIO()  # torch's own writer does not report a full disk
    torch.save(state, buffer)
    path.write_bytes(buffer.getbuffer())


def _write_movies(
    loaded: LoadedRun, movies: AllMovies, directory: ExportDirectory, parts: list[ExportPart], options: ExportOptions
) -> list[str]:
    """Writes movies, names of new ones and the weights of the head on rank 0; returns the names of the latter files."""
    cold = movies.cold(loaded)
    for part in parts:
        if directory.has(part.name):
            continue
        rows = slice(part.rows.start, part.rows.stop)
        vectors = Vectors(movies.vectors.vector[rows], movies.vectors.bias[rows])
        columns = {"cold": cold[rows]} if cold.any() else {}
        directory.write(part.name, partial(_write, "movie", movies.ids.iloc[rows], vectors, options.dtype, columns))
    names, arrays = [], loaded.head_arrays()
    if arrays:
        directory.write(_HEAD, partial(_write_arrays, arrays))
        names.append(_HEAD)
    if movies.new is not None:
        directory.write(NEW_MOVIES_FILE, partial(pq.write_table, catalog_table(loaded.dataset, movies.new)))
        names.append(NEW_MOVIES_FILE)
    return names


def _write_users(
    source: PreparedDataset | NewUsers,
    encoder: UserEncoder,
    directory: ExportDirectory,
    parts: list[ExportPart],
    cold: np.ndarray,
    options: ExportOptions,
    world: World,
) -> int:
    """Writes this rank's share of the missing parts; returns the number of missing parts over all ranks."""
    missing = world.run_on_rank0(lambda: [part for part in parts if not directory.has(part.name)])
    ids = source.users["user"]
    if isinstance(source, NewUsers):
        encoder = encoder.for_new_users(source)

    def write(part: ExportPart) -> None:
        vectors, rows = encoder.users(part.rows), slice(part.rows.start, part.rows.stop)
        norm = vectors.interest_norm
        columns = {} if norm is None else {"interest_norm": norm.cpu().numpy()}
        columns |= {"cold": cold[rows]} if cold.any() else {}
        directory.write(part.name, partial(_write, "user", ids.iloc[rows], vectors, options.dtype, columns))

    write_partitioned(missing[world.rank :: world.size], write, "users", world, lambda part: len(part.rows))
    return len(missing)


def _write(kind: str, ids: pd.Series, vectors: Vectors, dtype: str, columns: dict[str, np.ndarray], path: Path) -> None:
    """Writes one Parquet file with the raw id, ``embedding``, ``bias`` and further columns."""
    block = vectors.vector.cpu().numpy().astype(dtype)
    table = pa.table(
        {
            kind: pa.array(ids),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), block.shape[1]),
            "bias": pa.array(vectors.bias.cpu().numpy().astype(np.float32)),
        }
    )
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)


def _write_arrays(arrays: dict[str, Any], path: Path) -> None:
    with open(path, "wb") as file:  # given a path, NumPy would append its own suffix
        np.savez(file, **arrays)


def _manifest(
    loaded: LoadedRun,
    source: PreparedDataset | NewUsers,
    movies: AllMovies,
    options: ExportOptions,
    encoder: UserEncoder,
) -> dict:
    dataset = loaded.dataset
    ratings = {}
    if source is not dataset:
        names = ("num_ratings", "unknown_movies", "unknown_ratings", "fingerprint")
        option = "--user-features" if options.ratings is None else "--ratings"
        facts = {name: getattr(source, name) for name in names}
        ratings = {"ratings": {"file": source.directory.name, "option": option, **facts}}
    return {
        "objective": loaded.config.objective,
        "dim": encoder.movies.vector.shape[1],
        "dtype": options.dtype,
        "users": source.num_users,
        "movies": len(movies.ids),
        "cold_users": int((source.cold if isinstance(source, NewUsers) else loaded.cold_users).sum()),
        "cold_movies": int(movies.cold(loaded).sum()),
        **({} if movies.new is None else {"new_movies": len(movies.new)}),
        **loaded.scoring(),
        "offset": float(encoder.offset),
        "model_fingerprint": loaded.info.fingerprint,
        "dataset_fingerprint": dataset.fingerprint,
        "interest_fingerprint": loaded.interest_fingerprint,
        "run": str(loaded.directory.parents[1].resolve()),
        "data": str(dataset.directory.resolve()),
        **ratings,
    }
