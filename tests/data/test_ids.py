"""Raw ids are encoded in ascending order, as integers if all are integers, with hashes that never change."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from gnnrec.data import ids


@pytest.mark.parametrize(
    "values, type",
    [
        ([7, 3, 3, -2, 90], pa.int64()),
        ([7, 3, 3, -2, 90], pa.int32()),
        ([2**31 - 1, 2**31 - 9, 2**31 - 1], pa.int32()),
        ([10**15, -5, 10**15, 4], pa.int64()),
        ([2**31 - 1, -(2**31), 0, 0], pa.int32()),
    ],
    ids=["dense", "dense 32 bits", "dense at the limit", "sparse", "sparse 32 bits"],
)
def test_integers_are_encoded_in_ascending_order(values, type):
    encoded = ids.encode(pa.chunked_array([values[:2], values[2:]], type))
    assert encoded.raw.tolist() == sorted(set(values))
    assert encoded.raw[encoded.codes].tolist() == values and encoded.codes.dtype == np.int32


def test_strings_that_are_all_integers_become_integers():
    encoded = ids.encode(pa.chunked_array([["10", "9", "10", "-3"]]).dictionary_encode())
    assert encoded.raw.tolist() == [-3, 9, 10] and encoded.codes.tolist() == [2, 1, 2, 0]


@pytest.mark.parametrize("odd", ["x1", "007", "99999999999999999999", "1.5"])
def test_one_string_that_is_no_integer_keeps_all_as_strings(odd):
    encoded = ids.encode(pa.chunked_array([["10", odd], ["9", "10"]]))
    assert encoded.raw.tolist() == sorted(["10", "9", odd])
    assert encoded.raw[encoded.codes].tolist() == ["10", odd, "9", "10"]


def test_unused_dictionary_entries_are_left_out():
    column = pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array([2, 0, 2]), pa.array(["b", "zz", "a"]))])
    encoded = ids.encode(column)
    assert encoded.raw.tolist() == ["a", "b"] and encoded.codes.tolist() == [0, 1, 0]


def test_hashes_do_not_change():
    """Splits and orders of published runs depend on these bits."""
    assert ids.stable_hash(np.array([5, -1])).tolist() == [5, -1]
    assert ids.stable_hash(np.array(["anna", "b\u00e9a"], object)).tolist() == [
        -2620518812930413121,
        8631588018131611084,
    ]


def test_by_frequency_puts_the_most_frequent_first_and_ties_in_ascending_order():
    values = ["b", "c", "a", "c", "d", "d", "c", "a"]
    encoded = ids.by_frequency(ids.encode(pa.chunked_array([values]).dictionary_encode()))
    assert encoded.raw.tolist() == ["c", "a", "d", "b"]
    assert encoded.raw[encoded.codes].tolist() == values and encoded.codes.dtype == np.int32
