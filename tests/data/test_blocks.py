"""Blocks cover all rows once; look_up equals indexing."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.data import blocks


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 7)
    monkeypatch.setattr(blocks, "_LOOK_UP_BLOCK", 7)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 30])
def test_blocks_cover_all_rows_once(rows):
    parts = [np.arange(rows)[part] for part in blocks.blocks(rows)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert all(0 < len(part) <= 7 for part in parts)


@pytest.mark.parametrize("rows", [0, 6, 7, 23])
def test_look_up_equals_indexing(rows):
    table = np.array([2.5, -1.0, 7.25], np.float32)
    positions = np.random.default_rng(0).integers(0, 3, rows).astype(np.int32)
    values = blocks.look_up(table, positions)
    assert values.dtype == np.float32 and values.tolist() == [[2.5, -1.0, 7.25][position] for position in positions]
