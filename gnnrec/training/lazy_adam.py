"""Adam on the rows of a batch alone: the cost of a step does not grow with the table."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LazyAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba, ICLR 2015) with sparse gradients: rows without a gradient do not change.

    Dense Adam treats a step without a visit as a gradient of zero. The second moment of a row that a share ``p`` of
    the steps visit is therefore ``p`` times the mean square of its gradients, and the rarer the visits, the farther
    each moves the row. So squares enter with the factor ``p``, but at least ``1 - beta2``, below which dense Adam has
    forgotten the previous visit too. The first moment is over visits: a visit makes the whole update that dense Adam
    spreads over the following steps. With ``p = 1`` it is Adam.

    Args:
        groups: Parameter groups of tables with as many rows as ``inclusion_probability``.
        lr: Learning rate.
        betas: Decay of both moments.
        eps: Term added to the root of the second moment.
        inclusion_probability: Share of the steps that visit each row, above 0 and up to 1, float64 ``[rows]``.

    State of a table: ``step`` (float scalar), and ``exp_avg`` and ``exp_avg_sq`` of its shape, as of torch's Adam.
    """

    def __init__(
        self, groups: list[dict], lr: float, betas: tuple[float, float], eps: float, inclusion_probability: Tensor
    ):
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})
        self.inclusion_probability = inclusion_probability.to("cpu")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Updates the rows that have gradients."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, group)

    def _update(self, table: Tensor, group: dict) -> None:
        state, (beta1, beta2) = self.state[table], group["betas"]
        gradient = table.grad.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        share = self.inclusion_probability[rows].clamp(min=1 - beta2).to(values).view(-1, *[1] * (values.dim() - 1))
        state["step"] += 1
        step = float(state["step"])
        first = state["exp_avg"].index_select(0, rows).lerp_(values, 1 - beta1)
        second = state["exp_avg_sq"].index_select(0, rows).mul_(beta2)
        second.addcmul_(values * share, values, value=1 - beta2)
        state["exp_avg"].index_copy_(0, rows, first)
        state["exp_avg_sq"].index_copy_(0, rows, second)
        deviation = second.div_(1 - beta2**step).sqrt_().add_(group["eps"])
        table.index_add_(0, rows, first.div_(deviation), alpha=-group["lr"] / (1 - beta1**step))
