"""Triton kernels around the sums of a step against plain torch, and compiled for GPUs (:mod:`triton_step_cases`)."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.triton_compiling import CAPABILITIES
from tests.kernels.triton_program import run_program
from tests.kernels.triton_step_cases import COMPILED, FUNCTIONS

pytestmark = [pytest.mark.xdist_group("triton"), pytest.mark.slow]

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.mark.parametrize("device", DEVICES)
def test_kernels_equal_plain_torch(device, tmp_path):
    errors = run_program("triton_step_cases", [device], tmp_path, interpreted=device == "cpu")
    assert errors == dict.fromkeys(FUNCTIONS, "")


def test_kernels_compile_for_gpus(tmp_path):
    errors = run_program("triton_step_cases", ["compiler"], tmp_path, interpreted=False)
    assert errors == {f"{name} {capability}": "" for name in COMPILED for capability in CAPABILITIES}
