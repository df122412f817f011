"""Exports embeddings of all users and movies to Parquet, keyed by raw ids."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Literal

import torch

from gnnrec.data.column_options import ColumnOptions
from gnnrec.data.features.new_movies import NewMovies
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export_directory import MANIFEST, ExportDirectory, split_into_parts
from gnnrec.inference.export_encoder import write_encoder
from gnnrec.inference.export_formats import DerivedFiles, read_formats
from gnnrec.inference.export_manifest import describe_export
from gnnrec.inference.export_nodes import NodeWriter, check_dtype
from gnnrec.inference.export_state import has_state, read_state, write_state
from gnnrec.inference.export_tracking import check_tracking, track_export
from gnnrec.inference.generations.lineage import Lineage
from gnnrec.inference.load import load_run
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.new_movies import AllMovies, find_new_movies
from gnnrec.inference.new_users import NewUsers, read_new_users
from gnnrec.inference.outputs import output_directory
from gnnrec.inference.user_encoder import UserEncoder
from gnnrec.utils.addresses import address_of
from gnnrec.utils.bounds import bounded, check_bounds


@dataclasses.dataclass
class ExportOptions(ColumnOptions):
    """Options of ``gnnrec export``.

    Args:
        out: Directory to make, or an address that fsspec opens (s3://). An interrupted export of the same run is
            resumed.
        checkpoint: Checkpoint to export.
        dtype: Type of the embeddings. int8 has one byte a column and a scale for each row, and binary a bit a column of
            movies as well, for a first pass; the loss of both is measured in the manifest.
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
        own_rows: Also write the learned rows of users, from which gnnrec recommend --why splits scores of known users
            where messages depend on these rows: gat with user ids, gcn with self-loops, and sage of several layers.
        parent: Earlier export to follow, of the same kind of model: vectors are turned to fit its vectors, without any
            change of scores, and rows that hardly changed stay as they are there.
        tolerance: Rows of the parent stay where they changed by at most this share of a row's typical length.
        delta: Directory to make for the changed rows alone, and for the ids that are gone since the parent.
        wandb: Log the export to W&B, in the project and mode of the training run: its manifest becomes an artifact made
            from that of the model.
        overwrite: Replace the export in the output directory if it is complete or of something else.
    """

    out: Path
    checkpoint: Literal["best", "last"] = "best"
    dtype: Literal["float32", "float16", "int8", "binary"] = "float32"
    formats: list[str] = dataclasses.field(default_factory=lambda: ["parquet"])
    chunk: int = bounded(65536, least=1)
    part_rows: int = bounded(100_000, least=1)
    movie_features: list[str] = dataclasses.field(default_factory=list)
    ratings: Path | None = None
    user_features: list[str] = dataclasses.field(default_factory=list)
    data: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    own_rows: bool = False
    parent: Path | None = None
    tolerance: float = bounded(0.02, least=0)
    delta: Path | None = None
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
    lineage = _lineage(options)
    source = _read_source(loaded, options, world)
    new = find_new_movies(loaded, options.movie_features, options.movie_column)
    formats = read_formats(options.formats, loaded.scoring()["head"])
    check_dtype(options.dtype, loaded.scoring()["head"])
    directory = ExportDirectory(options.out)
    identity = _identity(loaded, source, new, options, formats) | lineage.identity
    if world.run_on_rank0(lambda: directory.open(identity, options.overwrite)):
        world.log(f"{options.out} is already complete")
        manifest = world.run_on_rank0(directory.manifest)
        world.run_on_rank0(lambda: lineage.write_delta(options.out, manifest, options.overwrite))
        return track_export(loaded, options.out, manifest, options.wandb, world)
    encoder = _encoder(loaded, directory, options.chunk, world)
    movies = AllMovies.of(loaded, encoder, new)
    lineage.fit(loaded, encoder, movies.vectors, movies.ids, options.dtype, directory, world)
    cold = source.cold if isinstance(source, NewUsers) else loaded.cold_users
    parts = {
        "movies": split_into_parts("movies", len(movies.ids), options.part_rows),
        "users": split_into_parts("users", source.num_users, options.part_rows),
    }
    names = [part.name for kind in parts.values() for part in kind]
    users_encoder = encoder.for_new_users(source) if isinstance(source, NewUsers) else encoder
    owners = (users_encoder, source.num_users) if options.own_rows else ()
    found = world.run_on_rank0(lambda: write_encoder(loaded, encoder, directory, lineage, *owners))
    names, encoder_entry = names + found[0], found[1]
    writer = NodeWriter(loaded, movies, directory, lineage, options.dtype)
    names += world.run_on_rank0(lambda: writer.write_movies(parts["movies"]))
    users = parts["users"]
    missing = writer.write_users(source, users_encoder, users, cold, world)
    derived = DerivedFiles(directory, formats, parts, encoder.movies.vector.shape[1], writer.own, options.dtype)
    names += derived.write(world)
    described = describe_export(loaded, source, movies, encoder, ratings=options.ratings is not None)
    manifest = described | {"dtype": options.dtype, "formats": list(formats), **encoder_entry}

    def finish() -> dict:
        whole = manifest | lineage.manifest(directory, names) | derived.describe()
        whole |= writer.describe_loss(source, users_encoder)
        finished = directory.finish(names, whole)
        lineage.write_delta(options.out, finished, options.overwrite)
        return finished

    manifest = world.run_on_rank0(finish)
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


def _lineage(options: ExportOptions) -> Lineage:
    """Opens the export to follow, if any."""
    if options.parent is not None and (options.ratings is not None or options.user_features):
        raise UserError("--parent follows the users of a dataset: leave out --ratings and --user-features, or --parent")
    return Lineage.open(options.parent, options.tolerance, options.delta, options.out)


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
        **({"own_rows": True} if options.own_rows else {}),
    }


def _encoder(loaded: LoadedRun, directory: ExportDirectory, chunk: int, world: World) -> UserEncoder:
    """Builds the encoder, or restores that of an interrupted export so that old and new parts are consistent."""
    name = "encoder.pt"
    if world.run_on_rank0(lambda: has_state(directory, name)):
        return loaded.encoder(chunk, read_state(directory, name))
    encoder = loaded.encoder(chunk)
    world.run_on_rank0(lambda: write_state(directory, name, encoder.state()))
    return encoder
