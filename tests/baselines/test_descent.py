"""Early stopping with given validation errors."""

from __future__ import annotations

import math

import pytest
import torch

from gnnrec.baselines.descent import PATIENCE, Adam, train_to_best_epoch


@pytest.mark.parametrize(
    ("errors", "trained", "best"),
    [
        ([5.0, 4.0, 3.0], 3, 3),
        ([5.0, 1.0] + [2.0] * 30, 2 + PATIENCE, 2),
        ([5.0, 1.0, 2.0, 0.5, 7.0], 5, 4),
        ([5.0, math.nan, 1.0], 2, 1),
    ],
)
def test_parameters_are_those_of_the_best_epoch(errors, trained, best):
    parameter, seen = torch.zeros(1), []

    def train(epoch):
        seen.append(epoch)
        parameter.add_(1)

    assert train_to_best_epoch([parameter], len(errors), train, lambda: errors[seen[-1]]) == best
    assert (seen, parameter.item()) == (list(range(trained)), best)


@pytest.mark.parametrize("error", [None, lambda: None])
def test_without_validation_every_epoch_is_trained(error):
    parameter = torch.zeros(1)
    assert train_to_best_epoch([parameter], 4, lambda _: parameter.add_(1), error) == 4
    assert parameter.item() == 4


def test_the_learning_rate_warms_up_and_falls_to_zero():
    parameter, moves = torch.zeros(1), []
    optimizer = Adam([parameter], 0.1, 100)
    for _ in range(100):
        before = parameter.item()
        optimizer.step([torch.ones(1)])
        moves.append(before - parameter.item())
    assert moves[0] == pytest.approx(0.01, rel=1e-3) and moves[10] == pytest.approx(0.1, rel=0.05)
    assert all(a > b for a, b in zip(moves[10:], moves[11:])) and moves[-1] < 1e-4
