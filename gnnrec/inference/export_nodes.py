"""Writes the movies and the users of an export, in the type that is asked for."""

from __future__ import annotations

import dataclasses
from functools import cached_property, partial

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from torch import Tensor

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export_directory import NEW_MOVIES_FILE, ExportDirectory, ExportPart
from gnnrec.inference.export_rows import write_arrays, write_rows
from gnnrec.inference.generations.lineage import Lineage
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.new_movies import AllMovies, catalog_table
from gnnrec.inference.new_users import NewUsers
from gnnrec.inference.partitioned import write_partitioned
from gnnrec.inference.small_loss import SAMPLE_USERS, measure_loss
from gnnrec.inference.small_vectors import SMALL, SignScheme, decode, own_columns, quantize
from gnnrec.inference.user_encoder import UserEncoder, Vectors

_HEAD = "head.npz"
#: Ranges of rows that the sample of users for the loss is taken from.
_RANGES = 8


def check_dtype(dtype: str, head: str) -> None:
    """Checks that vectors of a type can have a measured loss.

    Raises:
        UserError: The model has an MLP head.
    """
    if dtype in SMALL and head != "dot":
        raise UserError(f"--dtype {dtype}: needs a model with the dot head, and this one has the {head} head")


@dataclasses.dataclass(frozen=True)
class NodeWriter:
    """Writes the nodes of one export.

    Attributes:
        loaded: The run.
        movies: All movies.
        directory: The export.
        lineage: Its place among exports.
        dtype: Value of ``--dtype``.
    """

    loaded: LoadedRun
    movies: AllMovies
    directory: ExportDirectory
    lineage: Lineage
    dtype: str

    @cached_property
    def own(self) -> int:
        """Columns before those of interest."""
        return own_columns(self.loaded.scoring() | {"dim": self.movies.vectors.vector.shape[1]})

    @cached_property
    def _followed(self) -> Vectors:
        """All movies, as the export has them before they are rounded."""
        return self.lineage.follow("movies", self.movies.ids, self.movies.vectors)

    @cached_property
    def _scheme(self) -> SignScheme | None:
        """The signs; those of the parent where there is one, so that unchanged movies keep theirs."""
        if self.dtype != "binary":
            return None
        parent = self.lineage.parent
        if parent is not None:
            return SignScheme.of_manifest(parent.manifest["quantization"]["signs"])
        return SignScheme.fit(decode(quantize(_array(self._followed.vector), self.own), self.own))

    def write_movies(self, parts: list[ExportPart]) -> list[str]:
        """Writes movies, names of new ones and the weights of the head on rank 0.

        Args:
            parts: Files of movies.

        Returns:
            The names of the files of new movies and of the head, if any.
        """
        loaded, movies, directory = self.loaded, self.movies, self.directory
        cold = movies.cold(loaded)
        for part in parts:
            if directory.has(part.name):
                continue
            rows = slice(part.rows.start, part.rows.stop)
            vectors = Vectors(self._followed.vector[rows], self._followed.bias[rows])
            columns = {"cold": cold[rows]} if cold.any() else {}
            self._write(part, "movie", movies.ids.iloc[rows], vectors, columns, self._scheme)
        names, arrays = [], loaded.head_arrays()
        if arrays:
            directory.write(_HEAD, partial(write_arrays, arrays))
            names.append(_HEAD)
        if movies.new is not None:
            directory.write(NEW_MOVIES_FILE, partial(pq.write_table, catalog_table(loaded.dataset, movies.new)))
            names.append(NEW_MOVIES_FILE)
        return names

    def write_users(
        self,
        source: PreparedDataset | NewUsers,
        encoder: UserEncoder,
        parts: list[ExportPart],
        cold: np.ndarray,
        world: World,
    ) -> int:
        """Writes this rank's share of the missing parts; returns the number of missing parts over all ranks.

        Args:
            source: The users.
            encoder: Their encoder.
            parts: Files of users.
            cold: Users without training ratings, bool ``[users]``.
            world: The ranks; every rank calls this.
        """
        missing = world.run_on_rank0(lambda: [part for part in parts if not self.directory.has(part.name)])
        ids = source.users["user"]

        def write(part: ExportPart) -> None:
            rows = slice(part.rows.start, part.rows.stop)
            vectors = self.lineage.follow("users", ids.iloc[rows], encoder.users(part.rows))
            columns = {"cold": cold[rows]} if cold.any() else {}
            self._write(part, "user", ids.iloc[rows], vectors, columns)

        write_partitioned(missing[world.rank :: world.size], write, "users", world, lambda part: len(part.rows))
        return len(missing)

    def describe_loss(self, source: PreparedDataset | NewUsers, encoder: UserEncoder) -> dict:
        """Returns the manifest entry about small vectors; empty for float ones. On rank 0.

        Args:
            source: The users.
            encoder: Their encoder.
        """
        if self.dtype not in SMALL:
            return {}
        ids, blocks = source.users["user"], []
        spread = np.linspace(0, len(ids), _RANGES + 1).astype(int).tolist()
        for first, end in zip(spread[:-1], spread[1:]):
            rows = range(first, min(first + SAMPLE_USERS // _RANGES, end))
            if len(rows):
                vectors = self.lineage.follow("users", ids.iloc[rows.start : rows.stop], encoder.users(rows))
                blocks.append(_array(vectors.vector))
        movies, bias = _array(self._followed.vector), _array(self._followed.bias)
        users = np.concatenate(blocks) if blocks else np.zeros((0, movies.shape[1]), np.float32)
        return {"quantization": measure_loss(users, movies, bias, self.own, self._scheme)}

    def _write(
        self,
        part: ExportPart,
        kind: str,
        ids: pd.Series,
        vectors: Vectors,
        flags: dict[str, np.ndarray],
        scheme: SignScheme | None = None,
    ) -> None:
        """Writes a file of an export: scales follow the bias, then lengths of interest, signs and flags."""
        embedding, columns = _array(vectors.vector), {}
        if self.dtype in SMALL:
            columns = quantize(embedding, self.own)
            signs = {} if scheme is None else scheme.columns(decode(columns, self.own))
            embedding = columns.pop("embedding")
        else:
            embedding, signs = embedding.astype(self.dtype), {}
        if vectors.interest_norm is not None:
            columns["interest_norm"] = _array(vectors.interest_norm)
        columns |= signs | flags
        self.directory.write(part.name, partial(write_rows, kind, ids, embedding, _array(vectors.bias), columns))


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy().astype(np.float32, copy=False)
