"""Operators are called without torch's dispatcher where no gradient is recorded."""

from __future__ import annotations

import subprocess
import sys

import torch

from gnnrec.kernels.operators import operator


@operator("gnnrec_tests::double")
def double(values: torch.Tensor) -> torch.Tensor:
    return 2 * values


double.dispatched.register_autograd(lambda ctx, gradient: 2 * gradient, setup_context=lambda ctx, inputs, output: None)


def test_results_are_the_same_with_and_without_gradients():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    out = double(values)
    out.sum().backward()
    assert values.grad.tolist() == [2.0, 2.0] and "double" in type(out.grad_fn).__name__
    with torch.no_grad():
        assert torch.equal(double(values), out) and double(values).grad_fn is None


def test_inference_does_not_import_what_compiles_graphs():
    program = """
import sys, torch
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.sums import gather_sums, scatter_sums
lists = CSRLists(torch.tensor([0, 1, 2]), torch.tensor([0, 0], dtype=torch.int32), 1)
with torch.no_grad():
    print(gather_sums(torch.ones(1, 8), None, lists).sum().item())
    print(scatter_sums(torch.ones(2, 8), None, lists).sum().item())
print("torch._dynamo" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["16.0", "16.0", "False"]
