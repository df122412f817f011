"""Bounds beside the fields of options."""

from __future__ import annotations

import dataclasses
import math

import pytest

from gnnrec.errors import UserError
from gnnrec.utils.bounds import Bound, bounded, bounds_of, check_bounds


@pytest.mark.parametrize(
    ("bound", "words", "inside", "outside"),
    [
        (Bound(least=1), "at least 1", [1, 1e9], [0, -1]),
        (Bound(least=0), "0 or more", [0, 5], [-1e-9]),
        (Bound(least=-1, meaning="all"), "-1 (all) or more", [-1, 0], [-2]),
        (Bound(least=2, most=256), "from 2 to 256", [2, 256], [1, 257]),
        (Bound(least=0, below=1), "from 0 to below 1", [0, 0.999], [1, -0.1]),
        (Bound(above=0), "above 0", [1e-300], [0, -1]),
        (Bound(above=0, below=1), "between 0 and 1", [0.5], [0, 1]),
        (Bound(above=0, most=1), "above 0, at most 1", [1], [0, 1.1]),
    ],
)
def test_a_bound_in_words_and_numbers(bound: Bound, words: str, inside: list[float], outside: list[float]):
    assert str(bound) == words
    assert all(bound.allows(value) for value in inside)
    assert not any(bound.allows(value) for value in [*outside, math.nan, math.inf])


@dataclasses.dataclass
class Inner:
    share_kept: float = bounded(0.5, least=0, below=1)
    free: float = 0.0


@dataclasses.dataclass
class Outer:
    steps: int | None = bounded(None, least=1)
    inner: Inner = dataclasses.field(default_factory=Inner)


def test_bounds_have_dotted_names():
    assert dict(bounds_of(Outer)) == {"steps": Bound(least=1), "inner.share_kept": Bound(least=0, below=1)}


def test_values_are_checked_and_none_is_fine():
    check_bounds(Outer())
    for options, line in [
        (Outer(steps=0), "--steps 0: must be at least 1"),
        (Outer(inner=Inner(share_kept=1.0)), "--inner.share-kept 1.0: must be from 0 to below 1"),
        (Outer(inner=Inner(share_kept=math.inf)), "--inner.share-kept inf: must be from 0 to below 1, and finite"),
    ]:
        with pytest.raises(UserError) as caught:
            check_bounds(options)
        assert str(caught.value) == line
