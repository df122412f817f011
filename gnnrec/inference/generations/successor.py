"""An export that follows a parent: aligned to it, and with its rows wherever they hardly changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export_directory import ExportDirectory
from gnnrec.inference.export_state import has_state, read_state, write_state
from gnnrec.inference.generations.alignment import Alignment, Rows, align
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.inference.user_encoder import UserEncoder, Vectors

#: Users on whom the alignment is fitted, in so many ranges of rows.
_USERS, _RANGES = 65_536, 16


@dataclasses.dataclass(frozen=True)
class Successor:
    """Turns vectors into those of the next generation.

    Attributes:
        parent: The earlier export.
        alignment: The map to its vectors.
        tolerance: A row stays that of the parent if it moved by at most this share of the typical length of a row.
        lengths: Root mean squared lengths of the parent's rows, ``users`` and ``movies``.
    """

    parent: StoredRows
    alignment: Alignment
    tolerance: float
    lengths: dict[str, float]

    def follow(self, kind: str, ids: pd.Series, vectors: Vectors) -> Vectors:
        """Aligns vectors, and keeps the parent's rows where they hardly changed.

        Args:
            kind: ``users`` or ``movies``.
            ids: Raw ids of the rows.
            vectors: Vectors of the rows, on any device.

        Returns:
            Vectors on the CPU.
        """
        turned = self.alignment.of_users(vectors) if kind == "users" else self.alignment.of_movies(vectors)
        known, old = self.parent.rows(kind, pd.Index(ids))
        vector, bias = turned.vector.cpu().numpy(), turned.bias.cpu().numpy()
        if not known.any():
            return _on_cpu(vector, bias, turned.interest_norm)
        before = self.parent.vectors(old)
        moved = ((vector - before) ** 2).sum(1) + (bias - old["bias"]) ** 2
        kept = known & (moved <= (self.tolerance * self.lengths[kind]) ** 2)
        vector[kept], bias[kept] = before[kept], old["bias"][kept]
        norm = turned.interest_norm
        if norm is not None:
            norm = torch.where(torch.from_numpy(kept), torch.from_numpy(old["interest_norm"]), norm.cpu())
        return _on_cpu(vector, bias, norm)


def _on_cpu(vector: np.ndarray, bias: np.ndarray, norm: Tensor | None) -> Vectors:
    return Vectors(torch.from_numpy(vector), torch.from_numpy(bias), None if norm is None else norm.cpu())


def fit_successor(
    parent: StoredRows,
    tolerance: float,
    blocks: list[slice],
    encoder: UserEncoder,
    movies: Vectors,
    ids: dict[str, pd.Series],
    directory: ExportDirectory,
    world: World,
) -> Successor:
    """Fits the alignment on all movies and a sample of users, or reads that of an interrupted export.

    Args:
        parent: The earlier export.
        tolerance: As in :class:`Successor`.
        blocks: From :func:`check_parent`.
        encoder: Encoder of the new users.
        movies: Vectors of all movies, as exported.
        ids: Raw ids of all ``users`` and ``movies``.
        directory: The export to write.
        world: The ranks; every rank calls this.

    Raises:
        UserError: The parent has none of these users and movies.
    """
    name = "successor.pt"

    def fit() -> None:
        if not has_state(directory, name):
            alignment, lengths = _fit(parent, blocks, encoder, movies, ids)
            write_state(directory, name, dataclasses.asdict(alignment) | {"lengths": lengths})

    world.run_on_rank0(fit)
    state = read_state(directory, name)
    lengths = state.pop("lengths")
    return Successor(parent, Alignment(**state), tolerance, lengths)


def _fit(
    parent: StoredRows, blocks: list[slice], encoder: UserEncoder, movies: Vectors, ids: dict[str, pd.Series]
) -> tuple[Alignment, dict[str, float]]:
    """Returns the alignment, and the root mean squared lengths of the parent's rows."""
    spread = np.linspace(0, len(ids["users"]), _RANGES + 1).astype(int)
    ranges = [range(first, min(first + _USERS // _RANGES, end)) for first, end in zip(spread[:-1], spread[1:])]
    sides = {"users": [(rows, encoder.users(rows)) for rows in ranges if len(rows)]}
    sides["movies"] = [(range(len(ids["movies"])), movies)]
    common, lengths = {}, {}
    for kind, blocks_of_rows in sides.items():
        common[kind] = _common(
            parent, kind, [(ids[kind].iloc[rows.start : rows.stop], each) for rows, each in blocks_of_rows]
        )
        squares = (common[kind].old.astype(np.float64) ** 2).sum(1) + common[kind].old_bias.astype(np.float64) ** 2
        lengths[kind] = float(np.sqrt(squares.mean())) if squares.size else 0.0
    if not lengths["users"] and not lengths["movies"]:
        raise UserError(f"--parent {parent.directory} has no user and no movie of this dataset: leave --parent out")
    offsets = float(encoder.offset), parent.manifest["offset"]
    return align(common["users"], common["movies"], blocks, *offsets), lengths


def _common(parent: StoredRows, kind: str, parts: list[tuple[pd.Series, Vectors]]) -> Rows:
    """Rows that the parent has too."""
    found: list[list[np.ndarray]] = [[], [], [], []]
    for ids, vectors in parts:
        known, old = parent.rows(kind, pd.Index(ids))
        if known.any():
            new = vectors.vector.cpu().numpy(), vectors.bias.cpu().numpy()
            for values, part in zip(found, (new[0], parent.vectors(old), new[1], old["bias"]), strict=True):
                values.append(part[known])
    if not found[0]:
        dim = parent.manifest["dim"]
        return Rows(np.zeros((0, dim)), np.zeros((0, dim)), np.zeros(0), np.zeros(0))
    return Rows(*(np.concatenate(values) for values in found))
