"""Raw ids to rows: codes in ascending order of the raw ids, and a hash of each raw id that is the same everywhere."""

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
    """One id column.

    Attributes:
        raw: Distinct raw ids in ascending order, int64 or object (strings) ``[distinct]``.
        codes: int32 ``[ratings]``: position of each rating's id in ``raw``.
        mixed: Some ids look like integers and some do not (all are then taken as strings).
    """

    raw: np.ndarray
    codes: np.ndarray
    mixed: bool = False


def encode(column: pa.ChunkedArray, text: bool = False) -> EncodedIds:
    """Encodes a column without nulls of integers, strings or dictionary-encoded strings.

    Strings become int64 when every one of them is an integer written the usual way (no leading zeros), so that
    the result does not depend on the order of the rows; with ``text`` they stay strings, as other ids of theirs do.
    """
    if pa.types.is_integer(column.type):
        return _encode_integers(column)
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(pa.string()))
    unified = column.unify_dictionaries()
    indices = pa.chunked_array([chunk.indices for chunk in unified.chunks], type=unified.type.index_type).to_numpy()
    words = unified.chunk(0).dictionary.cast(pa.string())
    used = np.flatnonzero(np.bincount(indices, minlength=len(words)))
    words = words.take(pa.array(used))
    canonical = pc.sum(pc.match_substring_regex(words, _CANONICAL_INTEGER)).as_py() or 0
    raw = _as_integers(words) if canonical == len(words) and not text else None
    if raw is None:
        raw = words.to_numpy(zero_copy_only=False).astype(object)
        order = pc.array_sort_indices(words).to_numpy()  # bytewise in UTF-8, which is the order of code points
    else:
        order = np.argsort(raw)
    rank = np.zeros(used[-1] + 1, np.int32)
    rank[used[order]] = np.arange(len(raw), dtype=np.int32)
    return EncodedIds(raw[order], look_up(rank, indices), mixed=0 < canonical < len(words))


def _as_integers(words: pa.Array) -> np.ndarray | None:
    try:
        return words.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:  # more than 64 bits
        return None


def _encode_integers(column: pa.ChunkedArray) -> EncodedIds:
    low, high = pc.min_max(column).as_py().values()
    if high - low < 4 * len(column) + 1_000_000:  # dense enough for a lookup table
        chunks = [chunk.to_numpy() for chunk in column.chunks]  # of any integer type, and without a copy
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
    """The same ids in descending order of their numbers of ratings, ties in ascending order of the raw ids.

    What is read often then lies close together, and most of it stays in caches.
    """
    order = np.argsort(-np.bincount(ids.codes, minlength=len(ids.raw)), kind="stable")
    return EncodedIds(ids.raw[order], look_up(inverse(order), ids.codes), ids.mixed)


def inverse(permutation: np.ndarray) -> np.ndarray:
    """Where each position went, int32."""
    place = np.empty(len(permutation), np.int32)
    place[permutation] = np.arange(len(permutation), dtype=np.int32)
    return place


def is_integer(text: str) -> bool:
    """Whether a string id would be taken as an integer."""
    return re.match(_CANONICAL_INTEGER, text) is not None


def stable_hash(raw: np.ndarray) -> torch.Tensor:
    """64 bits for each raw id, the same in every run and on every machine: the counters of :mod:`gnnrec.rng`.

    Args:
        raw: int64 (the value is its own hash) or object array of strings.

    Returns:
        int64 tensor ``[len(raw)]``.
    """
    if raw.dtype != object:
        return torch.from_numpy(np.ascontiguousarray(raw, dtype=np.int64))
    return torch.from_numpy(pd.util.hash_array(raw, categorize=False).view(np.int64))
