"""Features of ``gnnrec prepare``: reads all tables before the ratings, and writes their arrays after them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnnrec.data.blocks import blocks, user_blocks
from gnnrec.data.features.feature_tables import FeatureTables
from gnnrec.data.features.kinds import FeatureSettings
from gnnrec.data.features.new_movies import write_unrated
from gnnrec.data.features.node_features import NODES, FeatureGroup, Node, write_schema
from gnnrec.data.features.read_table import files_beside, find_files, read_tables
from gnnrec.data.features.report import NodeReport, log_dropped, log_names
from gnnrec.data.features.types_option import FeatureTypes
from gnnrec.data.layout import shown
from gnnrec.errors import UserError
from gnnrec.utils.log import logger

#: Value of the training split.
_TRAIN = 0
#: Ratings that are read at a time.
_BLOCK = 1 << 20


@dataclasses.dataclass
class FeatureJob:
    """Tables of features, and what is written from them.

    Attributes:
        tables: Type of nodes -> parsed tables.
        files: All files that were read, for the manifest.
        settings: Options of encoding.
        catalog: The movies file and the names of its columns, for the titles of movies without ratings, whose features
            are kept; None to leave them out.
        reports: Reports of what was written.
    """

    tables: dict[Node, FeatureTables]
    files: list[Path]
    settings: FeatureSettings
    catalog: tuple[Path | None, dict[str, str | None]] | None = None
    reports: list[NodeReport] = dataclasses.field(default_factory=list)

    @staticmethod
    def read(
        paths: dict[Node, list[Path]],
        types: str | None,
        id_names: dict[Node, str | None],
        settings: FeatureSettings,
        catalog: tuple[Path | None, dict[str, str | None]] | None = None,
    ) -> FeatureJob | None:
        """Reads and parses tables; None if there are none.

        Args:
            paths: Type of nodes -> files, directories and patterns.
            types: ``--feature-types``.
            id_names: Type of nodes -> name of the column of ids, or None.
            settings: Options of encoding.
            catalog: See :class:`FeatureJob`.

        Raises:
            UserError: Bad input.
        """
        given = FeatureTypes.parse(types)
        files = {node: find_files(paths[node], node) for node in NODES if paths[node]}
        if not files:
            if types is not None:
                raise UserError("--feature-types names columns of features: add --movie-features or --user-features")
            return None
        tables = {node: read_tables(names, node, id_names[node]) for node, names in files.items()}
        given.check_names({node: [name for table in of for name in table.columns] for node, of in tables.items()})
        parsed = {node: FeatureTables.parse(node, of, given, settings.count) for node, of in tables.items()}
        all_files = [beside for names in files.values() for path in names for beside in files_beside(path)]
        return FeatureJob(parsed, all_files, settings, catalog)

    def write(self, directory: Path) -> None:
        """Writes the features of a dataset whose other files, but the manifest, are in ``directory``.

        What is learned from the tables is learned from nodes with training ratings.

        Raises:
            UnknownFeatureIds: No id of a table is one of the dataset.
        """
        schemas: dict[str, tuple[int, tuple[FeatureGroup, ...]]] = {}
        for node, tables in self.tables.items():
            raw = raw_ids(directory / f"{node}s.parquet", node)
            kept = node == "movie" and self.catalog is not None
            report = tables.write(directory, raw, trained_nodes(directory, node, len(raw)), self.settings, kept)
            self.reports.append(report)
            if report.schema:
                schemas[node] = len(raw), report.schema
                if kept and self.catalog is not None:
                    self._write_unrated(directory, raw, *self.catalog)
        if schemas:
            write_schema(directory, schemas)

    def _write_unrated(
        self, directory: Path, raw: pa.ChunkedArray, movies: Path | None, names: dict[str, str | None]
    ) -> None:
        """Writes the movies of the tables and of the movies file that have no ratings."""
        from gnnrec.data.movies import listed_ids, movie_table

        tables = self.tables["movie"]
        ids, known = tables.unknown_ids(raw), raw.combine_chunks()
        if movies is not None:
            listed = listed_ids(movies, names, raw.type)
            others = listed.filter(pc.invert(pc.is_in(listed, value_set=pa.concat_arrays([known, ids]))))
            ids = pa.concat_arrays([ids, others])
        if len(ids):
            rows = ids.to_numpy() if pa.types.is_integer(ids.type) else np.array(ids.to_pylist(), object)
            shown_as = pa.Table.from_pandas(movie_table(rows, movies, names)[0], preserve_index=False)
            columns = {"movie": ids, **{name: shown_as[name].cast(pa.string()) for name in ("title", "genres")}}
            write_unrated(directory, pa.table(columns), tables.encoded(pa.chunked_array([ids])))

    def log(self) -> None:
        """Prints the reports of what was written."""
        for report in self.reports:
            report.log()

    def log_dry_run(self) -> None:
        """Prints how the tables are understood."""
        for node, tables in self.tables.items():
            rows = ", ".join(f"{table.name} with {table.num_rows:,} rows" for table in tables.tables)
            logger.info(f"  features of {node}s ({rows}):")
            log_names([f"{shown(name)}: {kind}" for name, kind in tables.kinds.items()])
            log_dropped(tables.dropped)


def files_of(job: FeatureJob | None) -> Iterable[Path]:
    """Files that were read for features; none without a job."""
    return [] if job is None else job.files


def raw_ids(path: Path, name: str) -> pa.ChunkedArray:
    """Raw ids of a table of users or movies in row order: int64 or strings."""
    with pq.ParquetFile(path) as file:
        return file.read([name])[name]


def trained_nodes(directory: Path, node: Node, number: int) -> np.ndarray:
    """Nodes with training ratings, bool ``[number]``."""
    split = np.load(directory / "split.npy", mmap_mode="r")
    if node == "user":
        user_ptr, trained = np.load(directory / "user_ptr.npy", mmap_mode="r"), np.zeros(number, bool)
        for first, end in user_blocks(user_ptr, _BLOCK):
            pointer = np.asarray(user_ptr[first : end + 1])
            is_train = split[pointer[0] : pointer[-1]] == _TRAIN
            trained[first:end] = np.logical_or.reduceat(is_train, pointer[:-1] - pointer[0])  # each user has a rating
        return trained
    trained, movie = np.zeros(number, bool), np.load(directory / "movie.npy", mmap_mode="r")
    for block in blocks(len(split)):
        if trained.all():
            break
        rows = movie[block]
        rare = np.flatnonzero(rows >= trained.argmin())  # movies are sorted by their number of ratings
        trained[rows[rare[split[block][rare] == _TRAIN]]] = True
    return trained
