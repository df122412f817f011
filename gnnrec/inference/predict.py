"""``gnnrec predict``: ratings of given pairs of user and movie."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gnnrec.data.layout import PAIRS_ROLES
from gnnrec.data.pairs import PairsFile
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.open_source import is_export, open_source
from gnnrec.inference.outputs import output_file
from gnnrec.inference.pair_scores import PairScores
from gnnrec.inference.predict_options import PredictOptions


def run_predict(path: Path, options: PredictOptions) -> None:
    """Runs the command.

    Args:
        path: Run directory or export.
        options: The options.

    Raises:
        UserError: Bad input, or a file that cannot be written.
    """
    from gnnrec.distributed import process_group

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("gnnrec predict runs in one process: start it without torchrun")
    options.check()
    process_group.share_cores()
    with process_group.process_group(options.device) as world:
        write_predictions(path, options, world)


def write_predictions(path: Path, options: PredictOptions, world: World) -> None:
    """Writes the columns ``user``, ``movie`` and ``prediction``, for a ranking model ``score``, in the order of pairs.

    Args:
        path: Run directory or export.
        options: The options.
        world: One rank.

    Raises:
        UserError: Bad input, or a file that cannot be written.
        Stopped: A stop was requested; no file is written.
    """
    started = time.perf_counter()
    pairs, scores = open_pairs(path, options, world)
    with output_file(options.out, options.overwrite) as aside:
        with _writer(aside, options.out.name, scores.schema(pairs)) as writer:
            for table in scores.tables(pairs):
                world.check_stop()
                writer.write_table(table)
    kind = "scores of a ranking run" if scores.column == "score" else "predicted ratings"
    empty, seconds = scores.counts.describe_empty(), time.perf_counter() - started
    rate = f"{seconds:.1f} s, {pairs.count / seconds:,.0f} pairs/s"
    world.print(f"{options.out}: {pairs.count:,} {kind}{f', {empty}' if empty else ''}; {rate}")


def open_pairs(path: Path, options: PredictOptions, world: World) -> tuple[PairsFile, PairScores]:
    """Opens the pairs, and the vectors that score them.

    Raises:
        UserError: Bad input.
    """
    is_export(path)  # an error of the path comes before those of the pairs
    pairs = PairsFile(options.pairs, options.named_columns(PAIRS_ROLES), options.block)
    return pairs, PairScores(open_source(path, options, world), options.chunk)


@contextlib.contextmanager
def _writer(path: Path, name: str, schema: pa.Schema) -> Iterator[pa_csv.CSVWriter | pq.ParquetWriter]:
    """Opens a writer of the format that the ending of ``name`` stands for."""
    if name.endswith(".parquet"):
        with pq.ParquetWriter(path, schema) as writer:
            yield writer
        return
    compression = "gzip" if name.endswith(".gz") else None
    with pa.output_stream(str(path), compression=compression) as stream, pa_csv.CSVWriter(stream, schema) as writer:
        yield writer
