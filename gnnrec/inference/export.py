"""Embeddings of all users and movies, in Parquet, under raw ids."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gnnrec.distributed import World
from gnnrec.errors import UserError
from gnnrec.inference.export_directory import ExportDirectory, Part, parts_of
from gnnrec.inference.load import load_run
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.progress import Rate
from gnnrec.inference.user_encoder import UserEncoder, Vectors

_HEAD = "head.npz"


@dataclasses.dataclass
class ExportOptions:
    """Options of ``gnnrec export``.

    Args:
        out: Directory to make. What an interrupted export of the same left there is gone on with.
        checkpoint: best or last.
        dtype: Type of the embeddings: float32 or float16.
        chunk: Users whose ratings are in memory at a time: it bounds the memory of a rank.
        part_rows: Rows in a Parquet file.
        data: Prepared dataset, where it has moved since training.
        device: auto, cpu or cuda.
        overwrite: Replace an export of something else in the output directory.
    """

    out: Path
    checkpoint: Literal["best", "last"] = "best"
    dtype: Literal["float32", "float16"] = "float32"
    chunk: int = 65536
    part_rows: int = 100_000
    data: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    overwrite: bool = False


@torch.no_grad()
def export(run: Path, options: ExportOptions, world: World) -> dict:
    """Writes ``users/part-*.parquet``, ``movies/part-*.parquet`` and, when all of them are there, ``manifest.json``.

    Movies are embedded together, over all ranks. Then every rank takes parts of users, whoever owned them in training.

    Args:
        run: Run directory of ``train_dist.py``.
        options: The options.
        world: The ranks; every rank calls this, on a file system that they share.

    Returns:
        The manifest.

    Raises:
        UserError: Bad input, or a place that cannot be written.
        Stopped: A rank was told to stop; the same call goes on.
    """
    started = time.perf_counter()
    if options.chunk < 1 or options.part_rows < 1:
        raise UserError("--chunk and --part_rows must be at least 1")
    loaded = load_run(run, world, options.checkpoint, options.data)
    directory = ExportDirectory(options.out)
    if world.on_main(lambda: directory.open(_identity(loaded, options), options.overwrite)):
        world.print(f"{options.out} is complete: nothing is left to do")
        return world.on_main(directory.manifest)
    encoder = _encoder(loaded, directory, options.chunk, world)
    names = world.on_main(lambda: _write_movies(loaded, encoder, directory, options))
    users = parts_of("users", loaded.dataset.num_users, options.part_rows)
    missing = world.on_main(lambda: [part for part in users if not directory.has(part.name)])
    _write_users(loaded, encoder, directory, missing[world.rank :: world.size], options, world)
    names += [part.name for part in users]
    manifest = world.on_main(lambda: directory.finish(names, _manifest(loaded, options, encoder)))
    kept = f" ({len(users) - len(missing)} of {len(users)} parts were there)" if len(missing) < len(users) else ""
    world.print(
        f"{options.out}: {loaded.dataset.num_users:,} users and {loaded.dataset.num_movies:,} movies, "
        f"{manifest['dim']} x {options.dtype}, {time.perf_counter() - started:.1f} s{kept}"
    )
    return manifest


def _identity(loaded: LoadedRun, options: ExportOptions) -> dict:
    return {
        "model": loaded.info.fingerprint,
        "dataset": loaded.dataset.fingerprint,
        "dtype": options.dtype,
        "part_rows": options.part_rows,
    }


def _encoder(loaded: LoadedRun, directory: ExportDirectory, chunk: int, world: World) -> UserEncoder:
    """An encoder; that of an interrupted export, where it got so far: its parts then fit those that follow."""
    name = directory.state_file("encoder.pt")
    if world.on_main(lambda: directory.has(name)):
        state = torch.load(directory.path / name, map_location="cpu", weights_only=True)
        return loaded.encoder(chunk, state)
    encoder = loaded.encoder(chunk)
    world.on_main(lambda: directory.write(name, partial(torch.save, encoder.state())))
    return encoder


def _write_movies(
    loaded: LoadedRun, encoder: UserEncoder, directory: ExportDirectory, options: ExportOptions
) -> list[str]:
    """Movies and what else scores need; returns the names of the files. On rank 0."""
    ids = loaded.dataset.movies["movie"]
    movies = Vectors(loaded.exported_movies(encoder.movies.vector), encoder.movies.bias)
    parts = parts_of("movies", loaded.dataset.num_movies, options.part_rows)
    for part in parts:
        rows = slice(part.rows.start, part.rows.stop)
        some = Vectors(movies.vector[rows], movies.bias[rows])
        directory.write(part.name, partial(_write, "movie", ids.iloc[rows], some, options.dtype))
    names = [part.name for part in parts]
    arrays = loaded.head_arrays()
    if arrays:
        directory.write(_HEAD, partial(_write_arrays, arrays))
        names.append(_HEAD)
    return names


def _write_users(
    loaded: LoadedRun,
    encoder: UserEncoder,
    directory: ExportDirectory,
    parts: list[Part],
    options: ExportOptions,
    world: World,
) -> None:
    """The parts of this rank. A rank that cannot write says so when the others have finished."""
    ids, problem = loaded.dataset.users["user"], None
    with Rate("users", sum(len(part.rows) for part in parts), world) as rate:
        for part in world.together(parts):
            if problem is not None:
                continue
            some, rows = encoder.users(part.rows), slice(part.rows.start, part.rows.stop)
            try:
                directory.write(part.name, partial(_write, "user", ids.iloc[rows], some, options.dtype))
            except UserError as error:
                problem = str(error)
            rate.add(len(part.rows))
    problems = [each for each in world.gather_objects(problem) if each]
    if problems:
        raise UserError(problems[0])


def _write(kind: str, ids: pd.Series, vectors: Vectors, dtype: str, path: Path) -> None:
    """One Parquet file; columns: raw id, ``embedding``, ``bias``."""
    block = vectors.vector.cpu().numpy().astype(dtype)
    table = pa.table(
        {
            kind: pa.array(ids),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), block.shape[1]),
            "bias": pa.array(vectors.bias.cpu().numpy().astype(np.float32)),
        }
    )
    pq.write_table(table, path)


def _write_arrays(arrays: dict[str, np.ndarray], path: Path) -> None:
    with open(path, "wb") as file:  # given a name, NumPy would put its own ending behind it
        np.savez(file, **arrays)


def _manifest(loaded: LoadedRun, options: ExportOptions, encoder: UserEncoder) -> dict:
    dataset = loaded.dataset
    return {
        "objective": loaded.config.objective,
        "dim": encoder.movies.vector.shape[1],
        "dtype": options.dtype,
        "users": dataset.num_users,
        "movies": dataset.num_movies,
        **loaded.scoring(),
        "offset": float(encoder.offset),
        "model_fingerprint": loaded.info.fingerprint,
        "dataset_fingerprint": dataset.fingerprint,
        "run": str(loaded.directory.parents[1].resolve()),
        "data": str(dataset.directory.resolve()),
    }
