"""Encodes raw ids as integer codes in ascending order of the ids, and hashes them independently of run and machine."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gnnrec.data.blocks import look_up

_CANONICAL_INTEGER = r"^(0|-?[1-9][0-9]{0,18})$"
#: Integers that a program made floats: 7.0 is 7.
_INTEGRAL = r"^(0|-?[1-9][0-9]{0,18})(\.0+)?$"
#: Largest id that is an integer, and the largest whole number that a float holds exactly.
_MAX_INTEGER, _MAX_EXACT = 2**63 - 1, 2.0**53


@dataclasses.dataclass
class EncodedIds:
    """An encoded id column.

    Attributes:
        raw: Distinct raw ids in ascending order, int64 or object (strings) ``[distinct]``.
        codes: Position of each rating's id in ``raw``, int32 ``[ratings]``.
        integer_rows: Number of ratings whose id looks like an integer.
        other_ids: Up to two distinct ids that do not.
    """

    raw: np.ndarray
    codes: np.ndarray
    integer_rows: int = 0
    other_ids: tuple[str, ...] = ()

    @property
    def mixed(self) -> bool:
        """Some ids look like integers and some do not; all are then kept as strings."""
        return bool(self.integer_rows and self.other_ids)


def encode(column: pa.ChunkedArray, text: bool = False) -> EncodedIds:
    """Encodes a column without nulls of integers, floats, strings or dictionary-encoded strings.

    Blanks around strings are removed. Strings become int64 if all of them are integers in canonical form (no leading
    zeros), or such integers with a decimal part of zeros, so the result does not depend on the order of the rows. With
    ``text`` they stay strings, as required if ids of other input splits are text.

    Raises:
        pyarrow.ArrowInvalid: Ids that are neither numbers nor UTF-8 text.
    """
    if pa.types.is_integer(column.type) and column.type != pa.uint64():
        encoded = _encode_integers(column)
        if text:
            encoded.raw = encoded.raw.astype(str).astype(object)
            return _sorted(encoded)
        return encoded
    column = _as_text(column)
    unified = column.unify_dictionaries()
    indices = pa.chunked_array([chunk.indices for chunk in unified.chunks], type=unified.type.index_type).to_numpy()
    strings = unified.chunk(0).dictionary.cast(pa.string())
    count = np.bincount(indices, minlength=len(strings))
    trimmed = pc.utf8_trim_whitespace(strings)
    is_integral = pc.match_substring_regex(trimmed, _INTEGRAL).to_numpy(zero_copy_only=False)
    is_integral &= ~_is_too_large(trimmed, is_integral)
    used = count > 0
    others = trimmed.filter(pa.array(used & ~is_integral))
    if not len(others) and not text:
        digits = pc.replace_substring_regex(trimmed.filter(pa.array(used)), r"\.0+$", "")
        raw, position = np.unique(digits.cast(pa.int64()).to_numpy(), return_inverse=True)
    else:
        kept = trimmed.filter(pa.array(used))
        encoded = kept.dictionary_encode()  # ids that differ in blanks alone are one
        order = pc.array_sort_indices(encoded.dictionary)  # bytewise in UTF-8, which is the order of code points
        raw = encoded.dictionary.take(order).to_numpy(zero_copy_only=False).astype(object)
        position = inverse(order.to_numpy())[encoded.indices.to_numpy()]
    code = np.zeros(len(strings), np.int32)
    code[used] = position.astype(np.int32)
    sample = tuple(pc.unique(others).slice(0, 2).to_pylist())
    return EncodedIds(raw, look_up(code, indices), int(count[is_integral].sum()), sample)


def concatenate(columns: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Concatenates id columns of several files, whose types may differ."""
    if len(columns) == 1:
        return columns[0]
    if all(pa.types.is_integer(column.type) and column.type != pa.uint64() for column in columns):
        columns = [column.cast(pa.int64()) for column in columns]
    else:
        columns = [_as_text(column) for column in columns]
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Converts ids to dictionary-encoded strings."""
    if pa.types.is_floating(column.type):
        column = _text_of_floats(column)
    kind = pa.dictionary(pa.int32(), pa.string())
    return column if column.type == kind else column.cast(pa.string()).dictionary_encode().cast(kind)


def _is_too_large(strings: pa.Array, is_integral: np.ndarray) -> np.ndarray:
    """Flags integers of more than 64 bits among the integral strings, bool ``[strings]``."""
    too_large = np.zeros(len(strings), bool)
    long = is_integral & (pc.binary_length(strings).to_numpy() >= len(str(_MAX_INTEGER)))
    for position in np.flatnonzero(long):
        value = int(strings[position].as_py().split(".")[0])
        too_large[position] = not -_MAX_INTEGER <= value <= _MAX_INTEGER
    return too_large


def _text_of_floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Shortest text of floats, without a decimal part of zero."""
    values = column.cast(pa.float64()).to_numpy()
    codes, distinct = pd.factorize(values)
    whole = (distinct == np.floor(distinct)) & (np.abs(distinct) <= _MAX_EXACT)
    text = [str(int(value)) if integral else str(value) for value, integral in zip(distinct.tolist(), whole.tolist())]
    return pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(text, pa.string()))])


def _sorted(ids: EncodedIds) -> EncodedIds:
    """Sorts raw ids that were sorted by another key."""
    order = np.argsort(ids.raw)
    return EncodedIds(ids.raw[order], look_up(inverse(order), ids.codes), ids.integer_rows, ids.other_ids)


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
        return EncodedIds(raw + low, codes, len(column))
    codes, raw = pd.factorize(column.to_numpy().astype(np.int64, copy=False))
    order = np.argsort(raw)
    return EncodedIds(raw[order], inverse(order)[codes], len(column))


def by_frequency(ids: EncodedIds) -> EncodedIds:
    """Reorders ids by descending number of ratings; ties are in ascending order of the raw ids.

    Frequently read rows are then adjacent, and most of them stay in caches.
    """
    order = np.argsort(-np.bincount(ids.codes, minlength=len(ids.raw)), kind="stable")
    return EncodedIds(ids.raw[order], look_up(inverse(order), ids.codes), ids.integer_rows, ids.other_ids)


def inverse(permutation: np.ndarray) -> np.ndarray:
    """Inverse of a permutation, int32."""
    positions = np.empty(len(permutation), np.int32)
    positions[permutation] = np.arange(len(permutation), dtype=np.int32)
    return positions


def is_integer(text: str) -> bool:
    """Returns whether a string id has the canonical form of an integer."""
    return re.match(_CANONICAL_INTEGER, text) is not None


def is_integral(text: str) -> bool:
    """Returns whether a string id is an integer of 64 bits in canonical form, or with a decimal part of zeros."""
    return re.match(_INTEGRAL, text.strip()) is not None and abs(int(text.strip().split(".")[0])) <= _MAX_INTEGER


def stable_hash(raw: np.ndarray) -> np.ndarray:
    """Hashes each raw id to 64 bits, the same in every run and on every machine: counters of :mod:`gnnrec.data.draws`.

    Args:
        raw: int64 (the value is its own hash) or object array of strings.

    Returns:
        int64 ``[len(raw)]``.
    """
    if raw.dtype != object:
        return np.ascontiguousarray(raw, dtype=np.int64)
    return pd.util.hash_array(raw, categorize=False).view(np.int64)
