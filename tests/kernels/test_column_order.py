"""Messages and targets selected from all edges by column equal those sorted by column."""

from __future__ import annotations

import pytest
import torch

from gnnrec.kernels.column_order import select_by_column
from gnnrec.kernels.lists import CSRLists
from tests.kernels.selected_lists import selection


@pytest.mark.parametrize("name", ["mixed", "none", "all", "no edges"])
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_selected_entries_are_sorted(name, index):
    chosen = selection(name)
    pointer, row, order = chosen.edges_by_column
    actual = select_by_column(pointer, row.to(index), order.to(index), chosen.slot, chosen.sizes)
    everything = *chosen.by_column, *chosen.targets_by_column
    for values, expected in zip((*actual[0], *actual[1]), everything, strict=True):
        assert values.dtype == expected.dtype and torch.equal(values, expected)


@pytest.mark.parametrize("name", ["mixed", "none", "all"])
def test_lists_use_the_selection_in_the_place_of_a_sort(name, monkeypatch):
    chosen = selection(name)
    lists = CSRLists(chosen.pointer, chosen.entry, chosen.columns)
    for values, expected in zip(lists.by_column, chosen.by_column, strict=True):
        assert torch.equal(values, expected.to(values.dtype))
    assert [values.dtype for values in lists.by_column] == [torch.int64, torch.int32, torch.int64]
    monkeypatch.setattr(CSRLists, "_sorted", lambda self: pytest.fail("sorted"))
    selecting = CSRLists(chosen.pointer, chosen.entry, chosen.columns, select=lambda: chosen.by_column)
    assert selecting.by_column is chosen.by_column
