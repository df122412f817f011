"""Triton kernels for statistics against plain torch, in Triton's interpreter, and on a GPU if available."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.triton_program import run_program

pytestmark = pytest.mark.slow

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(scope="module", params=DEVICES)
def errors(request, tmp_path_factory) -> dict[str, str]:
    """Errors of all cases on a device; empty if a case has none."""
    device = request.param
    return run_program("triton_statistics_cases", [device], tmp_path_factory.mktemp("triton"), device == "cpu")


@pytest.mark.parametrize(
    ("kernel", "cases"),
    [
        ("sweep", 32),
        ("temporal biases", 15),
        ("fold sums", 7),
        ("levels", 16),
        ("residuals", 16),
        ("window sums", 12),
        ("time bins", 4),
    ],
)
def test_statistics_equal_plain_torch(errors, kernel, cases):
    own = {name: error for name, error in errors.items() if kernel in name}
    assert len(own) >= cases
    assert {name: error for name, error in own.items() if error} == {}
