"""Search spaces, and the configurations that their values give."""

from __future__ import annotations

import dataclasses

import pytest

from gnnrec.errors import UserError
from gnnrec.tools.tuning.space import SPACES, apply, parameters
from tests.configs import make_config

EVERY = [(objective, name) for objective, spaces in SPACES.items() for name in spaces]


@pytest.mark.parametrize(("objective", "space"), [*EVERY, ("rating", "all"), ("ranking", "all")])
def test_the_start_is_the_base(objective, space):
    given = {"objective": objective, "ranking": {"dropout": 0.5}, "optimizer": {"lr": 0.02}}
    base = make_config(model={"dropout": 0.3}, regularization={"ids": 7.0}, **given)
    chosen = parameters(base, space)
    assert chosen and apply(base, chosen, {p.name: p.start(base) for p in chosen}) == base


def test_values_multiply_or_replace_the_options():
    base = make_config(optimizer={"lr": 0.02}, regularization={"ids": 10.0, "messages": 20.0, "biases": 3.0})
    before = dataclasses.asdict(base)
    values = {"strength": 2.0, "messages": 0.5, "dropout": 0.25, "message_dropout": 0.1, "lr": 3.0}
    found = apply(base, parameters(base, "all"), values)
    strengths = found.regularization
    assert (strengths.ids, strengths.messages, strengths.biases) == (20.0, 20.0, 6.0)
    assert (found.model.dropout, found.model.message_dropout) == (0.25, 0.1) and found.optimizer.lr == pytest.approx(
        0.06
    )
    assert dataclasses.asdict(base) == before


def test_a_base_outside_of_the_usual_range_widens_it():
    base = make_config(model={"dropout": 0.7})
    (dropout,) = (p for p in parameters(base, "regularization") if p.name == "dropout")
    assert dropout.within(base) == (0.0, 0.7)
    assert dropout.within(make_config()) == (0.0, 0.5)


@pytest.mark.parametrize(("objective", "name"), EVERY)
def test_parameters_have_valid_bounds_and_options(objective, name):
    names = [parameter.name for parameter in SPACES[objective][name]]
    assert len(set(names)) == len(names)
    for parameter in SPACES[objective][name]:
        assert parameter.options and parameter.low < parameter.high
        assert not parameter.multiple or parameter.low < 1 < parameter.high


def test_an_unknown_space_is_refused():
    with pytest.raises(UserError, match="--space lr: choose one of regularization, optimizer or all"):
        parameters(make_config(), "lr")
