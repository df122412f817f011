"""Vectors of one byte a column, and signs of movies for a first pass over them.

A row is divided by a scale of its own, so that its largest entry becomes 127, and rounded. The columns of interest,
which are much larger than those of the rating, have a second scale. A scale has 16 bits of mantissa: then its products
with whole numbers up to 127 are exact, and vectors that were read from an export are written again bit for bit.

The signs of a movie are those of its vector less the mean of all movies, one bit a column. With the typical size of
each column and one number for the movie they estimate scores, so that a first pass over the signs finds candidates,
whose one-byte vectors order them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gnnrec.inference.export_parts import read_numbers

#: Types of embeddings whose columns are bytes.
SMALL = ("int8", "binary")
#: The largest stored number.
_MOST = 127
#: Columns of scales, of the rating or score and of interest.
SCALE, INTEREST_SCALE = "scale", "interest_scale"
#: Columns of the first pass.
SIGNS, SIGN_SIZE = "signs", "sign_size"


def own_columns(manifest: dict) -> int:
    """Returns the number of columns before those of interest, from manifest entries about scoring."""
    return manifest["interest"]["columns"][0] if "interest" in manifest else manifest["dim"]


def stored_type(dtype: str) -> str:
    """Returns the type of the stored embeddings: that of ``--dtype``, ``int8`` for ``binary``."""
    return "int8" if dtype in SMALL else dtype


def scale_columns(dtype: str, dim: int, own: int) -> list[str]:
    """Returns the names of the columns with scales."""
    names = [SCALE, INTEREST_SCALE] if own < dim else [SCALE]
    return names if dtype in SMALL else []


def quantize(vectors: np.ndarray, own: int) -> dict[str, np.ndarray]:
    """Returns ``embedding`` (int8 ``[rows, dim]``) and the columns of scales (float32 ``[rows]``).

    Args:
        vectors: float32 ``[rows, dim]``.
        own: Columns with the first scale.
    """
    found: dict[str, np.ndarray] = {"embedding": np.zeros(vectors.shape, np.int8)}
    for name, block in _blocks(vectors.shape[1], own).items():
        part = vectors[:, block].astype(np.float64)
        scale = _short(np.abs(part).max(1, initial=0) / _MOST)
        found["embedding"][:, block] = np.rint(part / np.where(scale > 0, scale, 1)[:, None])
        found[name] = scale.astype(np.float32)
    return found


def decode(columns: dict[str, np.ndarray], own: int) -> np.ndarray:
    """Returns the vectors of an export, float32 ``[rows, dim]``.

    Args:
        columns: ``embedding``, and the columns of scales if it is of type int8.
        own: Columns with the first scale.
    """
    vectors = columns["embedding"].astype(np.float32)
    if SCALE in columns:
        for name, block in _blocks(vectors.shape[1], own).items():
            vectors[:, block] *= columns[name][:, None]
    return vectors


def read_vectors(paths: list[Path], dim: int, own: int, dtype: str) -> Iterator[np.ndarray]:
    """Yields the vectors of Parquet files in batches, float32 ``[rows, dim]``."""
    names = ["embedding", *scale_columns(dtype, dim, own)]
    for parts in zip(*(read_numbers(paths, name) for name in names), strict=True):
        columns = dict(zip(names, parts, strict=True))
        yield decode(columns | {"embedding": columns["embedding"].reshape(-1, dim)}, own)


@dataclasses.dataclass(frozen=True)
class SignScheme:
    """Center and column sizes that signs are relative to, the same for all movies of an export.

    Attributes:
        center: Subtracted from vectors, float32 ``[dim]``.
        size: Typical size of the columns after that, float32 ``[dim]``.
    """

    center: np.ndarray
    size: np.ndarray

    @classmethod
    def fit(cls, movies: np.ndarray) -> SignScheme:
        """Fits the scheme to the vectors of all movies, float32 ``[movies, dim]``."""
        center = movies.mean(0, dtype=np.float64).astype(np.float32) if len(movies) else np.zeros(movies.shape[1])
        size = np.abs(movies - center).mean(0, dtype=np.float64) if len(movies) else np.zeros(movies.shape[1])
        return cls(center, size.astype(np.float32))

    @classmethod
    def of_manifest(cls, entry: dict) -> SignScheme:
        """Reads the scheme of an export from the entry ``signs``."""
        return cls(np.array(entry["center"], np.float32), np.array(entry["column_size"], np.float32))

    def columns(self, movies: np.ndarray) -> dict[str, np.ndarray]:
        """Returns ``signs``, uint8 ``[movies, ceil(dim / 8)]``, and ``sign_size``, float32 ``[movies]``."""
        rest = movies - self.center
        sizes = np.abs(rest) / np.where(self.size > 0, self.size, 1)
        return {SIGNS: np.packbits(rest >= 0, axis=1), SIGN_SIZE: sizes.mean(1, dtype=np.float64).astype(np.float32)}

    def estimate(self, users: np.ndarray, signs: np.ndarray, sizes: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Returns estimated scores, float32 ``[users, movies]``, up to a constant for each user.

        Args:
            users: float32 ``[users, dim]``.
            signs: As in :meth:`columns`.
            sizes: ``sign_size``.
            bias: Biases of movies, float32 ``[movies]``.
        """
        dim = len(self.size)
        ones = np.unpackbits(signs, axis=1, count=dim).astype(np.float32) * 2 - 1
        return ((users * self.size) @ ones.T) * sizes + bias


def _blocks(dim: int, own: int) -> dict[str, slice]:
    """Returns the columns of each scale."""
    return {SCALE: slice(0, own), INTEREST_SCALE: slice(own, dim)} if own < dim else {SCALE: slice(0, dim)}


def _short(scale: np.ndarray) -> np.ndarray:
    """Rounds up to 16 bits of mantissa, float64."""
    mantissa, exponent = np.frexp(scale)
    return np.ldexp(np.ceil(mantissa * 2**16) / 2**16, exponent)
