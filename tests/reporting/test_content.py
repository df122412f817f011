"""Rows of the page have no gaps, and differences are in words."""

from __future__ import annotations

import pytest

from gnnrec.reporting.content import Figure, MovieLists, Section
from gnnrec.reporting.metric_names import compared


@pytest.mark.parametrize(
    ("layout", "expected"),
    [("h", "w"), ("hh", "hh"), ("hhh", "hhw"), ("hwh", "www"), ("whhw", "whhw"), ("hl", "wl"), ("", "")],
)
def test_half_items_without_a_neighbor_are_widened(layout, expected):
    """The letters stand for half, wide and list."""
    items = [MovieLists("", []) if kind == "l" else Figure("", "", "", {}, wide=kind == "w") for kind in layout]
    section = Section("", "", "", items)
    kinds = ["l" if isinstance(item, MovieLists) else "w" if item.wide else "h" for item in section.items]
    assert "".join(kinds) == expected


@pytest.mark.parametrize(
    ("value", "other", "expected"),
    [(0.75, 1.0, "25.0 % lower"), (1.1, 1.0, "10.0 % higher"), (1.0, 1.0, "the same"), (1.0, 0.0, "")],
)
def test_differences_are_in_words(value, other, expected):
    assert compared(value, other) == expected
