"""Raw ids that are whole numbers, as users write them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gnnrec.inference.movie_catalog import find_id
from gnnrec.serving.tables import IdTable, map_array
from gnnrec.utils.whole_numbers import whole_number

NUMBERS = [5, 0, -3, 2**63 - 1, -(2**63), 10**18]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_usual_text_of_a_number_is_found(tmp_path, number):
    IdTable.write(tmp_path, "ids", NUMBERS)
    table = IdTable.open(lambda name: map_array(tmp_path, name), "ids")
    row = NUMBERS.index(number)
    assert whole_number(str(number)) == number
    assert table.find(str(number)) == find_id(pa.array(NUMBERS), str(number)) == row


@pytest.mark.parametrize(
    "text", ["", "+5", "05", "-0", " 5", "5.0", "5\n", "٥", str(2**63), str(-(2**63) - 1), "9" * 30]
)
def test_other_texts_are_no_ids(tmp_path, text):
    IdTable.write(tmp_path, "ids", NUMBERS)
    table = IdTable.open(lambda name: map_array(tmp_path, name), "ids")
    assert whole_number(text) is table.find(text) is find_id(pa.array(NUMBERS), text) is None
