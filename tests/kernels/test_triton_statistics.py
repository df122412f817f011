"""Triton kernels for statistics against plain torch, in Triton's interpreter and on a GPU, and compiled for GPUs."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import pytest
import torch

pytestmark = [pytest.mark.xdist_group("triton"), pytest.mark.slow]

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Function that runs a program of this folder and returns the JSON object that it prints."""
    cache = tmp_path_factory.mktemp("triton")

    @functools.cache
    def result(program: str, *arguments: str) -> dict:
        interpreted = "1" if arguments == ("cpu",) else "0"
        variables = {"TRITON_INTERPRET": interpreted, "TRITON_CACHE_DIR": str(cache)}
        command = [sys.executable, "-m", f"tests.kernels.{program}", *arguments]
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return result


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "kernel", ["sweep", "temporal biases", "fold sums", "levels", "residuals", "window sums", "time bins"]
)
def test_statistics_equal_plain_torch(run, device, kernel):
    errors = {name: error for name, error in run("triton_statistics_cases", device).items() if kernel in name}
    assert len(errors) >= 4
    assert {name: error for name, error in errors.items() if error} == {}


def test_kernels_fit_into_the_registers_of_gpus(run):
    actual = run("triton_statistics_resources")
    assert len(actual) >= 32
    assert {name: taken for name, taken in actual.items() if taken["spills"]} == {}
    assert all(0 < taken["registers"] < 256 and taken["shared"] <= 2048 for taken in actual.values())
