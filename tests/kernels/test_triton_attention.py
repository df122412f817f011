"""Triton kernels of attention, in Triton's interpreter and on a GPU if available, and compiled for GPUs."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import pytest
import torch

from tests.kernels import triton_attention_cases

pytestmark = [pytest.mark.xdist_group("triton"), pytest.mark.slow]

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
CASES = [(device, case) for device in DEVICES for case in triton_attention_cases.run_cases(device)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Function that runs the cases on a device and returns the error of each case."""
    cache = tmp_path_factory.mktemp("triton")

    @functools.cache
    def run(where: str) -> dict[str, str]:
        variables = {"TRITON_INTERPRET": "1" if where == "cpu" else "0", "TRITON_CACHE_DIR": str(cache)}
        command = [sys.executable, "-m", triton_attention_cases.__name__, where]
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize("device", DEVICES)
def test_every_case_runs(results, device):
    assert set(results(device)) == {case for name, case in CASES if name == device}


@pytest.mark.parametrize(("device", "case"), CASES)
def test_values_and_gradients_equal_independent_ones(results, device, case):
    assert results(device)[case] == ""


def test_kernels_compile_for_gpus_without_spills(results):
    actual = results("compiler")
    assert len(actual) >= 40
    assert {name: error for name, error in actual.items() if error} == {}
