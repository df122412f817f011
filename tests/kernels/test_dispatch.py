"""Which implementation of a kernel is chosen."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from gnnrec.kernels import dispatch, sums_reference

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def packages(monkeypatch):
    """Which packages and modules are there, instead of which really are."""
    there = set()
    monkeypatch.setattr(dispatch, "_installed", there.__contains__)
    monkeypatch.setattr(dispatch.importlib, "import_module", ModuleType)
    return there


def chosen(device: torch.device) -> str:
    return dispatch.choose(device, "sums", sums_reference).__name__


def test_compiled_kernels_run_where_they_can(packages):
    packages |= {"numba", "triton", "gnnrec.kernels.sums_cpu", "gnnrec.kernels.sums_triton"}
    assert chosen(CPU) == "gnnrec.kernels.sums_cpu"
    assert chosen(CUDA) == "gnnrec.kernels.sums_triton"
    assert chosen(torch.device("meta")) == "gnnrec.kernels.sums_reference"


def test_plain_torch_runs_without_the_compiler(packages):
    packages |= {"gnnrec.kernels.sums_cpu", "gnnrec.kernels.sums_triton"}
    assert chosen(CPU) == chosen(CUDA) == "gnnrec.kernels.sums_reference"


def test_plain_torch_runs_where_nobody_wrote_a_kernel(packages):
    packages |= {"numba", "triton", "gnnrec.kernels.sums_cpu"}
    assert chosen(CPU) == "gnnrec.kernels.sums_cpu"
    assert chosen(CUDA) == "gnnrec.kernels.sums_reference"


def test_an_implementation_can_be_forced(packages):
    packages |= {"numba", "triton", "gnnrec.kernels.sums_cpu", "gnnrec.kernels.sums_triton"}
    with dispatch.forced("reference"):
        assert chosen(CPU) == chosen(CUDA) == "gnnrec.kernels.sums_reference"
        with dispatch.forced("triton"):
            assert chosen(CPU) == "gnnrec.kernels.sums_triton"
        assert chosen(CPU) == "gnnrec.kernels.sums_reference"
    assert chosen(CPU) == "gnnrec.kernels.sums_cpu"
