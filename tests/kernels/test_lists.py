"""Ragged lists: owners, entries by column, and replaced fields."""

from __future__ import annotations

import torch

from gnnrec.kernels.lists import CSRLists

POINTER = torch.tensor([0, 2, 2, 5, 6])
ENTRY = torch.tensor([3, 0, 3, 3, 1, 0], dtype=torch.int32)


def test_owners_are_the_rows_of_entries():
    lists = CSRLists(POINTER, ENTRY, 5)
    assert (lists.rows, lists.columns) == (4, 5)
    assert lists.owner.tolist() == [0, 0, 2, 2, 2, 3] and lists.owner.dtype == torch.int32


def test_by_column_is_the_transpose_with_rows_ascending():
    pointer, row, order = CSRLists(POINTER, ENTRY, 5).by_column
    assert pointer.tolist() == [0, 2, 3, 3, 6, 6]
    assert row.tolist() == [0, 3, 2, 0, 2, 2]
    assert order.tolist() == [1, 5, 4, 0, 2, 3]


def test_lists_without_entries_have_empty_columns():
    pointer, row, order = CSRLists(torch.zeros(3, dtype=torch.int64), ENTRY[:0], 4).by_column
    assert pointer.tolist() == [0] * 5 and row.numel() == order.numel() == 0


def test_replace_changes_a_copy():
    lists = CSRLists(POINTER, ENTRY, 5, torch.ones(6), 1.5)
    lists.owner  # noqa: B018
    other = lists.replace(factor=None, row_scale=torch.ones(4))
    assert other.factor is None and other.row_scale is not None and other.weight == 1.5
    assert lists.factor is not None and lists.row_scale is None
    assert other.owner is lists.owner
    assert torch.equal(other.by_column[1], lists.by_column[1])


def test_lists_of_the_same_entries_are_sorted_once(monkeypatch):
    sort, calls = CSRLists._sorted, []
    monkeypatch.setattr(CSRLists, "_sorted", lambda self: calls.append(1) or sort(self))
    lists = CSRLists(POINTER, ENTRY, 5, torch.ones(6))
    copies = [lists.replace(factor=None), lists.replace(row_scale=torch.ones(4)).replace(weight=2.0)]
    first = copies[0].by_column
    assert copies[1].by_column is first and lists.by_column is first and lists.owner is copies[1].owner
    assert len(calls) == 1
    assert CSRLists(POINTER, ENTRY, 5).by_column is not first
