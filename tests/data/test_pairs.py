"""Files of pairs in blocks, and rows of raw ids, against a dictionary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gnnrec.data import ids
from gnnrec.data.pairs import IdIndex, PairsFile

LARGE = 9_223_372_036_854_775_807


@pytest.mark.parametrize("known", [[7, 0, -3, LARGE], ["7", "0", "x", "07"]], ids=["numbers", "text"])
@pytest.mark.parametrize("column", [["7", "x", "0", "07", "-3", "7"], ["7", str(LARGE), f"{LARGE}0", "0"], [0, 7, 5]])
def test_rows_of_ids_of_any_type(known, column):
    found = IdIndex(pa.array(known)).rows(ids.encode(pa.chunked_array([column])))
    table = {str(raw): row for row, raw in enumerate(known)}
    assert found.tolist() == [table.get(str(raw), -1) for raw in column]


def read(path: Path, rows: int) -> tuple[list, list, PairsFile, int]:
    file = PairsFile(path, {"user": None, "movie": None}, rows)
    blocks = list(file.blocks())
    columns = [[value for block in blocks for value in block.ids[role].to_pylist()] for role in ("user", "movie")]
    return *columns, file, len(blocks)


@pytest.mark.parametrize("rows", [3, 1000])
@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet"])
def test_blocks_have_all_pairs_in_order_and_one_type(tmp_path, name, rows):
    users = [str(number) for number in range(40)] + ["a,b"]  # text in the last block alone
    table = pd.DataFrame({"movieId": np.arange(41) * 3, "x": "", "userId": users})
    table.to_parquet(tmp_path / name, row_group_size=16) if "parquet" in name else table.to_csv(tmp_path / name)
    user, movie, file, blocks = read(tmp_path / name, rows)
    assert (user, movie, file.count) == (users, table["movieId"].tolist(), 41)
    assert file.types == {"user": pa.string(), "movie": pa.int64()}
    assert (blocks > 5) == (rows == 3)


@pytest.mark.parametrize("line", ["1::2\n", "1::2::3.5\n", "1::2::3.5::978300760\n"])
def test_files_with_two_colons_have_no_header(tmp_path, line):
    (tmp_path / "ratings.dat").write_text(line * 5)
    assert read(tmp_path / "ratings.dat", 2)[:2] == ([1] * 5, [2] * 5)
