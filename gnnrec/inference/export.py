"""Embeddings of all users and movies, in Parquet, under raw ids."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from gnnrec import files
from gnnrec.distributed import World
from gnnrec.errors import UserError
from gnnrec.inference.load import load_run
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.models.embeddings import Embeddings


@dataclasses.dataclass
class ExportOptions:
    """Options of ``gnnrec export``.

    Args:
        out: Directory to make.
        checkpoint: best or last.
        dtype: Type of the embeddings: float32 or float16.
        chunk: Users whose messages are worked on at a time.
        part_rows: Rows in a Parquet file.
        data: Prepared dataset, where it has moved since training.
        device: auto, cpu or cuda.
        overwrite: Replace the output directory if it exists.
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
    """Writes ``users/part-*.parquet``, ``movies/part-*.parquet`` and ``manifest.json``.

    Each rank writes its own users. The directory appears under its name when everything is in it.

    Args:
        run: Run directory of ``train_dist.py``.
        options: The options.
        world: The ranks; every rank calls this, on a file system that they share.

    Returns:
        The manifest.
    """
    started = time.perf_counter()
    if options.chunk < 1 or options.part_rows < 1:
        raise UserError("--chunk and --part_rows must be at least 1")
    loaded = load_run(run, world, options.checkpoint, options.data)
    embeddings = loaded.embed(options.chunk)
    manifest = None
    with _shared_directory(options, world) as aside:
        users = loaded.dataset.users["user"].iloc[loaded.part.start : loaded.part.stop]
        first = loaded.part.start
        parts = _parts("user", users, embeddings.user, embeddings.user_bias, first, options)
        if world.is_main:
            vectors = loaded.export_movies(embeddings, aside)
            movies = loaded.dataset.movies["movie"]
            parts += _parts("movie", movies, vectors, embeddings.movie_bias, 0, options)
        for part in world.together(parts):
            part.write(aside, options.dtype)
        world.barrier()
        if world.is_main:
            manifest = _manifest(loaded, options, embeddings, aside)
            files.write_text(aside / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    world.print(
        f"{options.out}: {loaded.dataset.num_users:,} users and {loaded.dataset.num_movies:,} movies, "
        f"{embeddings.movie.shape[1]} x {options.dtype}, {time.perf_counter() - started:.1f} s"
    )
    return world.broadcast_object(manifest)


class _shared_directory:
    """:func:`gnnrec.files.complete_directory`, opened by rank 0 and written by all."""

    def __init__(self, options: ExportOptions, world: World):
        self.world = world
        self.manager = files.complete_directory(options.out, options.overwrite) if world.is_main else None

    def __enter__(self) -> Path:
        opened = problem = None
        if self.manager is not None:
            try:
                opened = self.manager.__enter__()
                (opened / "users").mkdir()
                (opened / "movies").mkdir()
            except UserError as error:
                problem = str(error)
        opened, problem = self.world.broadcast_object((opened, problem))
        if problem:
            raise UserError(problem)
        return opened

    def __exit__(self, *failure) -> None:
        if failure[0] is None:
            self.world.barrier()
        if self.manager is not None:
            self.manager.__exit__(*failure)
        if failure[0] is None:
            self.world.barrier()


@dataclasses.dataclass(frozen=True)
class _Part:
    """One Parquet file, named after its first row; columns: raw id, ``embedding``, ``bias``."""

    kind: str
    first: int
    ids: pd.Series
    vectors: Tensor
    biases: Tensor

    def write(self, directory: Path, dtype: str) -> None:
        block = self.vectors.cpu().numpy().astype(dtype)
        table = pa.table(
            {
                self.kind: pa.array(self.ids),
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), self.vectors.shape[1]),
                "bias": pa.array(self.biases.cpu().numpy().astype(np.float32)),
            }
        )
        pq.write_table(table, directory / f"{self.kind}s" / f"part-{self.first:010d}.parquet")


def _parts(
    kind: str, ids: pd.Series, vectors: Tensor, biases: Tensor, first: int, options: ExportOptions
) -> list[_Part]:
    """Parts of at most ``part_rows`` rows, of which the first has the number ``first``."""
    starts = range(0, vectors.shape[0], options.part_rows)
    rows = [slice(start, start + options.part_rows) for start in starts]
    return [_Part(kind, first + each.start, ids.iloc[each], vectors[each], biases[each]) for each in rows]


def _manifest(loaded: LoadedRun, options: ExportOptions, embeddings: Embeddings, directory: Path) -> dict:
    dataset = loaded.dataset
    parts = sorted(path for path in directory.rglob("*") if path.is_file())
    return {
        "format": "gnnrec-export",
        "format_version": 1,
        "objective": loaded.config.objective,
        "dim": embeddings.movie.shape[1],
        "dtype": options.dtype,
        "users": dataset.num_users,
        "movies": dataset.num_movies,
        **loaded.scoring(),
        "offset": float(embeddings.offset),
        "model_fingerprint": loaded.info.fingerprint,
        "dataset_fingerprint": dataset.fingerprint,
        "files": {
            str(path.relative_to(directory)): {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
            for path in parts
        },
    }
