"""Mixed precision as on GPUs, in bfloat16 on the CPU."""

from __future__ import annotations

import pytest
import torch

from gnnrec.distributed.world import World
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("autocast"))


def gradients_of(trainer: RatingTrainer) -> torch.Tensor:
    """All gradients of the first step, in one vector."""
    step, batch = trainer.make_batch(0, 0)
    trainer.forward_backward(step, batch)
    parameters = [*trainer.replicated.parameters(), *trainer.users.parameters()]
    assert all(parameter.dtype == torch.float32 for parameter in parameters)
    return torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.requires_grad])


@pytest.mark.parametrize("loader", [{}, SAMPLED], ids=["full", "sampled"])
@pytest.mark.parametrize("architecture", ["gcn", "sage"])
def test_message_tables_in_bfloat16_are_close_to_float32(dataset, architecture, loader):
    exact, rounded = (
        gradients_of(RatingTrainer(make_config(model=model, loader=loader), dataset, World()))
        for model in ({"architecture": architecture}, {"architecture": architecture, "message_tables": "bf16"})
    )
    assert 0 < (rounded - exact).norm() / exact.norm() < 2**-8


@pytest.mark.parametrize("head", ["dot", "mlp"])
@pytest.mark.parametrize("architecture", ["gcn", "sage", "gat"])
def test_bfloat16_is_close_to_float32(dataset, architecture, head, monkeypatch):
    config = make_config(model={"architecture": architecture, "layers": 2, "head": head}, loader=SAMPLED)
    gradients = {}
    for autocast in (False, True):
        trainer = RatingTrainer(config, dataset, World())
        if autocast:
            monkeypatch.setattr(trainer, "_autocast", lambda: torch.autocast("cpu", torch.bfloat16))
        gradients[autocast] = gradients_of(trainer)
    difference = (gradients[True] - gradients[False]).norm() / gradients[False].norm()
    # bfloat16 keeps 8 bits of mantissa; a difference of exactly 0 would mean that nothing was cast.
    assert 0 < difference < 0.03
