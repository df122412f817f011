"""Learning-rate schedule and settings of the optimizers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gnnrec.config.training_options import OptimizerOptions
from gnnrec.distributed.world import World
from gnnrec.training.optimizer import build_optimizer, learning_rate, message_lr_scale, set_learning_rate


def rates(total: int, **options) -> list[float]:
    options = OptimizerOptions(**{"lr": 0.4} | options)
    return [learning_rate(options, step, total) for step in range(total)]


def test_warmup_rises_in_equal_steps_to_the_peak():
    assert rates(100, warmup_steps=8)[:8] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4])


def test_cosine_is_torchs_own_after_the_warmup():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=92)
    expected = []
    for _ in range(92):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(100, warmup_steps=8)[8:] == pytest.approx(expected, rel=1e-6)
    assert rates(92, warmup_steps=0) == pytest.approx(expected, rel=1e-6)


def test_constant_stays_at_the_peak():
    assert rates(20, warmup_steps=4, schedule="constant")[3:] == [0.4] * 17


def test_warmup_takes_at_most_half_of_a_short_run():
    schedule = rates(10, warmup_steps=50)
    assert schedule[:5] == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4])
    assert schedule[5] == pytest.approx(0.4) and all(a > b for a, b in zip(schedule[5:], schedule[6:]))


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_shortest_runs_learn_in_every_step(total, schedule):
    assert all(0 < rate <= 0.4 for rate in rates(total, warmup_steps=50, schedule=schedule))


@pytest.mark.parametrize(
    ("eps", "targets", "expected"), [(0.0, 1000.0, 5e-7), (0.0, 0.0, 5e-4), (0.0, 2e6, 2.5e-10), (1e-3, 1000.0, 1e-3)]
)
def test_adam_takes_its_settings_and_epsilon_shrinks_with_targets(eps, targets, expected):
    module = nn.Linear(2, 2)
    optimizer = build_optimizer(OptimizerOptions(eps=eps, beta1=0.8, beta2=0.95, lr=0.3), module, targets)
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.Adam)
    assert (group["eps"], group["betas"], group["lr"], group["weight_decay"]) == (expected, (0.8, 0.95), 0.3, 0)
    assert len(group["params"]) == 2


def test_sgd_steps_along_the_gradient_alone():
    module = nn.Linear(2, 1, bias=False)
    start = module.weight.detach().clone()
    optimizer = build_optimizer(OptimizerOptions(name="sgd", lr=0.5), module, 10)
    for _ in range(2):
        module.weight.grad = torch.tensor([[1.0, -2.0]])
        optimizer.step()
    torch.testing.assert_close(module.weight.detach(), start - torch.tensor([[1.0, -2.0]]))


@pytest.mark.parametrize(("full", "expected"), [(0.0, 1.0), (10_000.0, 1.0), (2.0, (2 / (100 / 18)) ** 0.5)])
def test_message_lr_scale_falls_with_the_mean_degree_over_edges(full, expected):
    # Degrees 2, 4, 4, 8: their mean over edges is (4 + 16 + 16 + 64) / 18; a receiver of degree 0 does not change it.
    degrees = torch.tensor([2, 4, 0, 4, 8])
    options = OptimizerOptions(message_lr_degree=full)
    assert message_lr_scale(options, degrees, World()) == pytest.approx(expected)


RATES = {"message_embedding": 0.25, "residual_embedding": 0.25, "to_users.rating": 0.25, "to_movies.rating": 0.125}


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_only_message_and_residual_embeddings_learn_slower(name):
    module = torch.nn.Module()
    for parameter in ("message_embedding", "residual_embedding", "id_embedding", "bias"):
        module.register_parameter(parameter, torch.nn.Parameter(torch.ones(3)))
    optimizer = build_optimizer(OptimizerOptions(name=name, lr=0.1), module, 10, RATES)
    set_learning_rate(optimizer, 0.08)
    for parameter in module.parameters():
        parameter.grad = torch.ones(3)
    optimizer.step()
    moved = {name: 1 - parameter[0].item() for name, parameter in module.named_parameters()}
    expected = {"message_embedding": 0.02, "residual_embedding": 0.02, "id_embedding": 0.08, "bias": 0.08}
    assert moved == pytest.approx(expected, rel=1e-3)


def test_upper_layers_and_embeddings_of_messages_learn_slower():
    expected = [
        ("encoder.layers.0.user_out.weight", 0.08),
        ("encoder.layers.0.to_users.bias", 0.08),
        ("encoder.layers.0.to_movies.att_src", 0.08),
        ("encoder.layers.0.to_users.rating", 0.02),
        ("encoder.layers.0.to_movies.rating", 0.01),
        ("encoder.layers.0.to_movies.att_rating", 0.08),
        ("encoder.layers.1.to_users.rating", 0.01),
        ("encoder.layers.1.to_movies.rating", 0.005),
        ("encoder.layers.1.to_movies.att_src", 0.04),
        ("encoder.layers.2.user_out.weight", 0.04),
        ("encoder.layers.10.user_out.weight", 0.04),
        ("head.linear.weight", 0.08),
        ("head.user.weight", 0.08),
        ("movies.id_embedding", 0.08),
        ("movies.message_embedding", 0.02),
        ("movies.residual_embedding", 0.02),
    ]
    module = torch.nn.Module()
    for path, _ in expected:
        parts, parent = path.split("."), module
        for part in parts[:-1]:
            if not hasattr(parent, part):
                parent.add_module(part, torch.nn.Module())
            parent = getattr(parent, part)
        parent.register_parameter(parts[-1], torch.nn.Parameter(torch.ones(1)))
    optimizer = build_optimizer(OptimizerOptions(lr=0.1, upper_layer_lr_scale=0.5), module, 10, RATES)
    set_learning_rate(optimizer, 0.08)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: 1 - parameter.item() for name, parameter in module.named_parameters()}
    assert moved == pytest.approx(dict(expected), rel=1e-3)
