"""Torch operators of the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Operator:
    """A torch operator whose function is called directly where no gradient is recorded.

    The first call through torch's dispatcher imports ``torch._dynamo``. That takes two seconds, which only training has
    to wait for. A derivative calls ``dispatched``, because torch may trace it, and it is computed without gradients.

    Args:
        name: Name with namespace.
        function: The function, with type hints; it returns new tensors and changes none.

    Attributes:
        function: The function.
        dispatched: The operator, :class:`torch.library.CustomOpDef`.
    """

    def __init__(self, name: str, function: Callable) -> None:
        self.function = function
        self.dispatched = torch.library.custom_op(name, mutates_args=())(function)

    def __call__(self, *args: Any) -> Any:
        recorded = torch.is_grad_enabled() or torch.compiler.is_compiling()
        return (self.dispatched if recorded else self.function)(*args)


def operator(name: str) -> Callable[[Callable], Operator]:
    """Decorator that makes a function an :class:`Operator`."""
    return lambda function: Operator(name, function)
