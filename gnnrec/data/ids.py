"""Encodes raw ids as integer codes in ascending order of the ids, and hashes them independently of run and machine."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from gnnrec.data.blocks import look_up

_CANONICAL_INTEGER = r"^(0|-?[1-9][0-9]{0,18})$"


@dataclasses.dataclass
class EncodedIds:
    """An encoded id column.

    Attributes:
        raw: Distinct raw ids in ascending order, int64 or object (strings) ``[distinct]``.
        codes: Position of each rating's id in ``raw``, int32 ``[ratings]``.
        mixed: Some ids look like integers and some do not (all are then kept as strings).
    """

    raw: np.ndarray
    codes: np.ndarray
    mixed: bool = False


def encode(column: pa.ChunkedArray, text: bool = False) -> EncodedIds:
    """Encodes a column without nulls of integers, strings or dictionary-encoded strings.

    Strings become int64 if all of them are integers in canonical form (no leading zeros), so the result does not
    depend on the order of the rows. With ``text`` they stay strings, as required if ids of other input splits are text.
    """
    if pa.types.is_integer(column.type):
        return _encode_integers(column)
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(pa.string()))
    unified = column.unify_dictionaries()
    indices = pa.chunked_array([chunk.indices for chunk in unified.chunks], type=unified.type.index_type).to_numpy()
    strings = unified.chunk(0).dictionary.cast(pa.string())
    used = np.flatnonzero(np.bincount(indices, minlength=len(strings)))
    strings = strings.take(pa.array(used))
    canonical = pc.sum(pc.match_substring_regex(strings, _CANONICAL_INTEGER)).as_py() or 0
    raw = _as_integers(strings) if canonical == len(strings) and not text else None
    if raw is None:
        raw = strings.to_numpy(zero_copy_only=False).astype(object)
        order = pc.array_sort_indices(strings).to_numpy()  # bytewise in UTF-8, which is the order of code points
    else:
        order = np.argsort(raw)
    rank = np.zeros(used[-1] + 1, np.int32)
    rank[used[order]] = np.arange(len(raw), dtype=np.int32)
    return EncodedIds(raw[order], look_up(rank, indices), mixed=0 < canonical < len(strings))


def _as_integers(strings: pa.Array) -> np.ndarray | None:
    try:
        return strings.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:  # more than 64 bits
        return None


def _encode_integers(column: pa.ChunkedArray) -> EncodedIds:
    low, high = pc.min_max(column).as_py().values()
    if high - low < 4 * len(column) + 1_000_000:  # dense enough for a lookup table
        chunks = [chunk.to_numpy() for chunk in column.chunks]  # any integer type, without a copy
        seen = np.zeros(high - low + 1, bool)
        for values in chunks:
            seen[values.astype(np.int64) - low] = True
        raw = np.flatnonzero(seen)
        rank = np.empty(len(seen), np.int32)
        rank[raw] = np.arange(len(raw), dtype=np.int32)
        codes = np.empty(len(column), np.int32)
        ends = np.cumsum([len(values) for values in chunks])
        for values, end in zip(chunks, ends):
            codes[end - len(values) : end] = rank[values.astype(np.int64) - low]
        return EncodedIds(raw + low, codes)
    codes, raw = pd.factorize(column.to_numpy().astype(np.int64, copy=False))
    order = np.argsort(raw)
    return EncodedIds(raw[order], inverse(order)[codes])


def by_frequency(ids: EncodedIds) -> EncodedIds:
    """Reorders ids by descending number of ratings; ties are in ascending order of the raw ids.

    Frequently read rows are then adjacent, and most of them stay in caches.
    """
    order = np.argsort(-np.bincount(ids.codes, minlength=len(ids.raw)), kind="stable")
    return EncodedIds(ids.raw[order], look_up(inverse(order), ids.codes), ids.mixed)


def inverse(permutation: np.ndarray) -> np.ndarray:
    """Inverse of a permutation, int32."""
    positions = np.empty(len(permutation), np.int32)
    positions[permutation] = np.arange(len(permutation), dtype=np.int32)
    return positions


def is_integer(text: str) -> bool:
    """Returns whether a string id has the canonical form of an integer."""
    return re.match(_CANONICAL_INTEGER, text) is not None


def stable_hash(raw: np.ndarray) -> torch.Tensor:
    """Hashes each raw id to 64 bits, the same in every run and on every machine: the counters of :mod:`gnnrec.rng`.

    Args:
        raw: int64 (the value is its own hash) or object array of strings.

    Returns:
        int64 tensor ``[len(raw)]``.
    """
    if raw.dtype != object:
        return torch.from_numpy(np.ascontiguousarray(raw, dtype=np.int64))
    return torch.from_numpy(pd.util.hash_array(raw, categorize=False).view(np.int64))
