"""Weighted co-occurrence counts against dense products by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions, merge
from gnnrec.models import gram
from gnnrec.models.gram import weighted_gram

USERS, MOVIES = 50, 17


def interactions(dense: np.ndarray) -> Interactions:
    user, movie = np.nonzero(dense)
    pointer = np.concatenate([[0], np.bincount(user, minlength=len(dense)).cumsum()])
    edge = torch.from_numpy(user * MOVIES + movie)
    return Interactions(torch.from_numpy(pointer), torch.from_numpy(movie).int(), torch.ones(len(movie)), edge)


@pytest.mark.parametrize("weak_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [5, 1 << 25])
def test_weak_interactions_count_by_their_weight(weak_weight, rows, monkeypatch):
    monkeypatch.setattr(gram, "BLOCK", rows * MOVIES)
    generator = np.random.default_rng(3)
    kind, weight = generator.choice(3, (USERS, MOVIES), p=[0.6, 0.25, 0.15]), generator.random(USERS)
    values = (kind == 1) + weak_weight * (kind == 2)
    expected = values.T @ (weight[:, None] * values)
    liked, weak = interactions(kind == 1), interactions(kind == 2)
    weak.weight = torch.full((weak.num_edges,), weak_weight, dtype=torch.float64)
    found = weighted_gram(merge(liked, weak), MOVIES, torch.from_numpy(weight), World())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
