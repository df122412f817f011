"""The strongest ratings of a reason."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.inference.numpy_users.parts import UserRatings
from gnnrec.inference.reasons.explain import CONSTANTS, Reasons


@pytest.mark.parametrize("count", [0, 1, 3, 7, 20, 30])
def test_the_strongest_are_the_first_of_all_in_order_and_ties_by_row(count):
    rng = np.random.default_rng(count)
    messages = rng.integers(-3, 4, 20).astype(np.float64)  # many are equal
    rated = UserRatings(np.arange(20), np.ones(20))
    reasons = Reasons(**dict.fromkeys(CONSTANTS, 0.0), rated=rated, messages=messages, interest=np.zeros(20))
    wanted = sorted(range(20), key=lambda place: (-abs(messages[place]), place))[:count]
    assert reasons.strongest(count).tolist() == wanted
