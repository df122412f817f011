"""Triton kernels of attention against plain torch and a dense softmax, in Triton's interpreter, and on a GPU if any."""

from __future__ import annotations

import pytest
import torch

from tests.kernels import triton_attention_cases
from tests.kernels.triton_program import run_program

pytestmark = pytest.mark.slow

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(scope="module", params=DEVICES)
def errors(request, tmp_path_factory) -> tuple[str, dict[str, str]]:
    """A device, and the errors of all cases on it; empty if a case has none."""
    device = request.param
    cache = tmp_path_factory.mktemp("triton")
    return device, run_program("triton_attention_cases", [device], cache, device == "cpu")


def test_every_case_runs(errors):
    device, found = errors
    assert set(found) == set(triton_attention_cases.run_cases(device))


@pytest.mark.parametrize(
    ("kind", "cases"),
    [("float", 17), ("largest", 4), ("softmax", 2), ("no edges", 2), ("views", 2), ("launches", 2)],
)
def test_attention_equals_independent_results(errors, kind, cases):
    own = {name: error for name, error in errors[1].items() if kind in name.replace("_", " ")}
    assert len(own) >= cases
    assert {name: error for name, error in own.items() if error} == {}
