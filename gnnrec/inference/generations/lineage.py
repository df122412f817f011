"""The place of an export among those before it: it follows a parent, or stands alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export_directory import ExportDirectory
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.changes import describe
from gnnrec.inference.generations.delta import write_delta
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.inference.generations.successor import Successor, fit_successor
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.user_encoder import UserEncoder, Vectors


@dataclasses.dataclass
class Lineage:
    """An export that is being written.

    Attributes:
        parent: The export that it follows; None for one that stands alone.
        tolerance: Share of a row's typical length up to which rows stay those of the parent.
        delta: Directory for the changed rows, or None.
        successor: The map to the parent's vectors, once :meth:`fit` has found it.
    """

    parent: StoredRows | None
    tolerance: float
    delta: Path | None
    successor: Successor | None = None

    @classmethod
    def open(cls, parent: Path | None, tolerance: float, delta: Path | None, out: Path) -> Lineage:
        """Opens the parent.

        Raises:
            UserError: Not a complete export of a dataset's users, the directory to write, or a delta without a parent.
        """
        if parent is None:
            if delta is not None:
                raise UserError(f"--delta {delta} has the changes since an earlier export: pass that one with --parent")
            return cls(None, tolerance, None)
        manifest = read_manifest(parent, "pass an export to --parent")
        if "ratings" in manifest:
            raise UserError(f"--parent {parent} has the users of {manifest['ratings']['file']}, not of a dataset")
        for name, path in (("--out", out), ("--delta", delta)):
            if path is not None and path.resolve() == parent.resolve():
                raise UserError(f"--parent {parent} is {name} too: choose another directory to write")
        return cls(StoredRows(parent, manifest), tolerance, delta)

    @property
    def identity(self) -> dict:
        """Values that are equal in two calls of the same export."""
        return {} if self.parent is None else {"parent": self.parent.fingerprint, "tolerance": self.tolerance}

    def fit(
        self,
        loaded: LoadedRun,
        encoder: UserEncoder,
        movies: Vectors,
        movie_ids: pd.Series,
        dtype: str,
        directory: ExportDirectory,
        world: World,
    ) -> None:
        """Fits the map to the parent's vectors, or reads that of an interrupted export. Every rank calls this.

        Args:
            loaded: The run.
            encoder: Its encoder.
            movies: Vectors of all movies, as exported.
            movie_ids: Their raw ids.
            dtype: Type of the embeddings.
            directory: The export to write.
            world: The ranks.

        Raises:
            UserError: The parent is of another kind of model, or has other users and movies.
        """
        if self.parent is None:
            return
        blocks = _blocks(self.parent, loaded.scoring(), loaded.config.objective, movies.vector.shape[1], dtype)
        ids = {"users": loaded.dataset.users["user"], "movies": movie_ids}
        self.successor = fit_successor(self.parent, self.tolerance, blocks, encoder, movies, ids, directory, world)

    def follow(self, kind: str, ids: pd.Series, vectors: Vectors) -> Vectors:
        """Returns vectors as they are written: those of the parent's generation where there is one."""
        return vectors if self.successor is None else self.successor.follow(kind, ids, vectors)

    def manifest(self, directory: ExportDirectory, names: list[str]) -> dict:
        """Manifest entries: the offset, and what changed since the parent; empty without one. On rank 0."""
        if self.parent is None or self.successor is None:
            return {}
        child = StoredRows(directory.path, {"files": dict.fromkeys(names)})
        parent = {"path": str(self.parent.directory.resolve()), "fingerprint": self.parent.fingerprint}
        return {
            "offset": self.successor.alignment.offset,
            "parent": parent | {"tolerance": self.tolerance} | describe(self.parent, child),
        }

    def write_delta(self, out: Path, manifest: dict, overwrite: bool) -> None:
        """Writes the delta of the finished export, if one is wanted. On rank 0."""
        if self.parent is not None and self.delta is not None:
            write_delta(self.parent, StoredRows(out, manifest), self.delta, overwrite)


def _blocks(parent: StoredRows, scoring: dict, objective: str, dim: int, dtype: str) -> list[slice]:
    """Columns that are turned separately, after a check that vectors can follow those of the parent."""
    old, place = parent.manifest, f"--parent {parent.directory}"
    if scoring["head"] != "dot" or old["head"] != "dot":
        raise UserError(f"{place}: scores of an MLP head change with any map of its vectors: leave --parent out")
    if old["objective"] != objective:
        raise UserError(f"{place} is of objective {old['objective']}, this run of {objective}: leave --parent out")
    first = scoring.get("interest", {"columns": [dim, dim]})["columns"][0]
    old_first = old.get("interest", {"columns": [old["dim"]] * 2})["columns"][0]
    if (dim, first) != (old["dim"], old_first):
        raise UserError(
            f"{place} has vectors of {old_first} + {old['dim'] - old_first} columns, this run of {first} + "
            f"{dim - first}: leave --parent out"
        )
    if old["dtype"] != dtype:
        raise UserError(f"{place} has {old['dtype']} embeddings, and --dtype is {dtype}: pass --dtype {old['dtype']}")
    return [block for block in (slice(0, first), slice(first, dim)) if block.stop > block.start]
