"""``gnnrec prepare --compact``: prepares a dataset that has grown anew, from its own ratings.

The result is what a preparation of all files writes: users in random order, movies by their number of ratings, shards
of equal size, no users or movies without ratings. The rows before are stored beside it. Constants of encoded features
stay those of the first preparation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnnrec.data import prepare as preparing
from gnnrec.data.blocks import user_blocks
from gnnrec.data.features.node_features import NODES
from gnnrec.data.growth.generations import change
from gnnrec.data.growth.node_tables import write_rows
from gnnrec.data.growth.resplit import protocol_of
from gnnrec.data.prepare_in_memory import prepare_in_memory
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.data.prepared import MANIFEST, ROWS_BEFORE, SPLIT_NAMES, Manifest, PreparedDataset
from gnnrec.data.split_ranking import RANKING_OPTIONS
from gnnrec.utils.bounds import bounded
from gnnrec.utils.log import logger

#: Ratings of a row group.
_BLOCK = 1 << 20


@dataclasses.dataclass
class CompactOptions:
    """Options of ``gnnrec prepare --compact``.

    Args:
        engine: Engine, as for gnnrec prepare: memory, stream, dask or auto. All give the same bytes.
        memory: Memory of stream, and of each worker of dask, in gigabytes; at least 1, or 0.
        workers: Threads of stream, or worker processes that dask starts here; by default one for each core.
        scheduler: Address of a running Dask scheduler, such as tcp://host:8786; by default workers on this machine.
    """

    engine: Literal["auto", "memory", "stream", "dask"] = "auto"
    memory: float = bounded(0.0, least=0, meaning="half of what is free")
    workers: int | None = bounded(None, least=1)
    scheduler: str | None = None


def compact(out: Path, options: CompactOptions) -> Manifest:
    """Orders the rows of a dataset anew, and prints what it has.

    Args:
        out: A prepared dataset.
        options: The options.

    Returns:
        The manifest after the change.

    Raises:
        UserError: It is no prepared dataset, or is damaged.
    """
    started = time.perf_counter()
    with change(out) as opened:
        dataset, directory, scratch = opened.dataset, opened.directory, opened.scratch
        dataset.check()
        before = dataset.manifest
        prepare_options = _options(dataset, options, scratch)
        prepare_options.check()

        @contextlib.contextmanager
        def open_output() -> Iterator[Path]:
            yield directory

        layouts = preparing.layouts_of([(scratch / "ratings.parquet", None)], prepare_options)
        movies = scratch / "movies.parquet"
        if preparing.use_memory_engine(layouts, prepare_options):
            manifest, _ = prepare_in_memory(open_output, layouts, movies, None, prepare_options)
        else:
            from gnnrec.data.out_of_core.prepare import prepare_out_of_core

            manifest, _ = prepare_out_of_core(directory, open_output, layouts, movies, None, prepare_options)
        (directory / MANIFEST).unlink()
        rows = {node: _rows_before(dataset, directory, f"{node}s", node) for node in NODES}
        for node in NODES:
            np.save(directory / ROWS_BEFORE[node], rows[node], allow_pickle=False)
        write_rows(dataset, rows, directory)
        appended = [entry for increment in before.increments for entry in increment.get("files", [])]
        source = before.source | {"files": [*before.source.get("files", []), *appended]}
        dropped = {name: before.counts[name] for name in ("duplicates_dropped",) if name in before.counts}
        manifest = dataclasses.replace(manifest, source=source, counts=manifest.counts | dropped, increments=[])
        checksums = {Path(name).stem: entry["shards"] for name, entry in manifest.files.items() if "shards" in entry}
        manifest = opened.commit(manifest, np.load(directory / "user_ptr.npy", mmap_mode="r"), checksums)
    counts = manifest.counts
    logger.info(
        f"{out}: {counts['users']:,} users, {counts['movies']:,} movies, {counts['ratings']:,} ratings in the order "
        f"of a new preparation; {time.perf_counter() - started:.1f} s"
    )
    return manifest


def _options(dataset: PreparedDataset, options: CompactOptions, scratch: Path) -> PrepareOptions:
    """Writes ratings and titles with raw ids to files, and returns the options that prepare them as the dataset was."""
    manifest = dataset.manifest
    split, rating, protocol = manifest.split, manifest.rating, protocol_of(manifest)
    _write_ratings(dataset, scratch / "ratings.parquet", protocol == "given")
    pq.write_table(dataset.table("movies").select(["movie", "title", "genres"]), scratch / "movies.parquet")
    values: dict[str, Any] = {name: split[name] for name in RANKING_OPTIONS.get(protocol, ()) if name in split}
    if "relevant" in split:
        values["relevant"] = "none" if split["relevant"] <= rating["min"] else split["relevant"]
    if protocol == "given":
        values["split_column"] = "split"
    else:
        values |= {"protocol": protocol, "test": split["test"]}
    if rating["min"] < rating["max"]:
        values["rating_scale"] = (rating["min"], rating["max"])
    return PrepareOptions(
        ratings=scratch / "ratings.parquet",
        validation=split["validation"],
        seed=split["seed"],
        order=manifest.order,  # type: ignore[arg-type]
        shards=manifest.source.get("shards", len(manifest.shards) - 1),
        scratch=scratch / "stream",
        user_column="user",
        movie_column="movie",
        rating_column="rating",
        timestamp_column=None if dataset.timestamp is None else "timestamp",
        **values,
        **dataclasses.asdict(options),
    )


def _write_ratings(dataset: PreparedDataset, path: Path, given: bool) -> None:
    """Writes all ratings with raw ids to a Parquet file, a block of users at a time."""
    raw = {role: dataset.table(f"{role}s")[role].combine_chunks() for role in ("user", "movie")}
    user_ptr, times = np.asarray(dataset.user_ptr), dataset.timestamp
    names, writer = pa.array(SPLIT_NAMES), None
    for first, end in user_blocks(user_ptr, _BLOCK):
        edges = slice(int(user_ptr[first]), int(user_ptr[end]))
        owner = np.repeat(np.arange(first, end), np.diff(user_ptr[first : end + 1]))
        columns = {
            "user": raw["user"].take(pa.array(owner)),
            "movie": raw["movie"].take(pa.array(np.asarray(dataset.movie[edges]))),
            "rating": pa.array(np.asarray(dataset.rating[edges])),
        }
        if times is not None:
            columns["timestamp"] = pa.array(np.asarray(times[edges]), pa.timestamp("s"))
        if given:
            columns["split"] = names.take(pa.array(np.asarray(dataset.split[edges])))
        table = pa.table(columns)
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=False)
        writer.write_table(table)
    assert writer is not None  # a dataset has users
    writer.close()


def _rows_before(dataset: PreparedDataset, directory: Path, table: str, name: str) -> np.ndarray:
    """Row of each user or movie before, in the order of the new rows, int64."""
    before = dataset.table(table)[name]
    after = pq.read_table(directory / f"{table}.parquet", columns=[name])[name]
    return pc.index_in(after, value_set=before.combine_chunks()).to_numpy().astype(np.int64)
