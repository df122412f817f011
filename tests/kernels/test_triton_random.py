"""Triton kernels that draw random numbers, in Triton's interpreter and on a GPU if available, and compiled for GPUs."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch

from gnnrec.kernels import dropout
from tests.kernels import triton_random_cases
from tests.kernels.triton_compiling import CAPABILITIES
from tests.kernels.triton_program import run_program

pytestmark = pytest.mark.slow

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
CASES = [(device, case) for device in DEVICES for case in triton_random_cases.run_cases(device)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Function that runs the cases on a device and returns the error of each case."""
    cache = tmp_path_factory.mktemp("triton")

    @functools.cache
    def run(where: str) -> dict[str, str]:
        return run_program("triton_random_cases", [where], cache, interpreted=where == "cpu")

    return run


@pytest.mark.parametrize("device", DEVICES)
def test_every_case_runs(results, device):
    assert set(results(device)) == {case for name, case in CASES if name == device}


@pytest.mark.parametrize(("device", "case"), CASES)
def test_results_equal_those_of_rng(results, device, case):
    assert results(device)[case] == ""


def test_kernels_compile_for_gpus_without_spills(results):
    actual = results("compiler")
    assert len(actual) >= 17 * len(CAPABILITIES) + 6
    assert {name: error for name, error in actual.items() if error} == {}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dropout_takes_its_kernel_on_gpus_for_all_dtypes(dtype):
    states = SimpleNamespace(dtype=dtype, device=torch.device("cuda"))
    assert dropout._kernels(states).__name__ == "gnnrec.kernels.dropout_triton"
