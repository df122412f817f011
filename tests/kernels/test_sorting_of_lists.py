"""Devices sort lists by column only for sums over columns, and once for all lists of the same entries."""

from __future__ import annotations

import pytest
import torch

from gnnrec.kernels import pairs, sums
from gnnrec.kernels.lists import CSRLists


@pytest.fixture
def sorts(monkeypatch) -> list:
    """Sorts of lists on another device than the CPU; operators do nothing."""
    done: list[CSRLists] = []
    monkeypatch.setattr(CSRLists, "_sorted", lambda lists: done.append(lists) or ("pointer", "row", "order"))
    for module, name in ((sums, "_gather"), (sums, "_scatter"), (pairs, "_scores")):
        monkeypatch.setattr(module, name, lambda *arguments: arguments)
    return done


def lists() -> CSRLists:
    pointer, entry = torch.zeros(4, dtype=torch.int64), torch.zeros(0, dtype=torch.int32)
    return CSRLists(pointer.to("meta"), entry.to("meta"), 5, torch.zeros(0, device="meta"))


def table(rows: int, gradient: bool = False) -> torch.Tensor:
    return torch.zeros(rows, 2, device="meta", requires_grad=gradient)


def test_gathers_sort_only_if_a_gradient_is_recorded(sorts):
    sums.gather_sums(table(5), None, lists())
    with torch.no_grad():
        arguments = sums.gather_sums(table(5, gradient=True), table(5, gradient=True), lists())
    assert not sorts and None in arguments and "row" not in arguments
    assert "row" in sums.gather_sums(table(5), table(5, gradient=True), lists())
    assert len(sorts) == 1


def test_scatters_sort_once_for_all_copies_of_lists(sorts):
    with torch.no_grad():
        one = lists()
        for copy in (one.replace(factor=None), one.replace(row_scale=torch.ones(3)), one):
            assert "row" in sums.scatter_sums(table(3), None, copy)
    assert len(sorts) == 1


def test_pairs_sort_only_if_a_gradient_is_recorded(sorts):
    bias = [torch.zeros(count, device="meta") for count in (3, 5)]
    pairs.pair_scores(table(3), table(5), *bias, lists())
    with torch.no_grad():
        pairs.pair_scores(table(3, gradient=True), table(5), *bias, lists())
    assert not sorts
    pairs.pair_scores(table(3), table(5, gradient=True), *bias, lists())
    assert len(sorts) == 1
