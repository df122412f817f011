"""Selection of a kernel's implementation."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from gnnrec.kernels import dispatch, sums_reference

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def packages(monkeypatch):
    """Replaces the installed packages and modules by a set."""
    installed = set()
    monkeypatch.setattr(dispatch, "_installed", installed.__contains__)
    monkeypatch.setattr(dispatch.importlib, "import_module", ModuleType)
    return installed


def chosen(device: torch.device) -> str:
    return dispatch.choose(device, "sums", sums_reference).__name__


def test_compiled_kernels_run_on_their_devices(packages):
    packages |= {"numba", "triton", "gnnrec.kernels.sums_cpu", "gnnrec.kernels.sums_triton"}
    assert chosen(CPU) == "gnnrec.kernels.sums_cpu"
    assert chosen(CUDA) == "gnnrec.kernels.sums_triton"
    assert chosen(torch.device("meta")) == "gnnrec.kernels.sums_reference"


def test_plain_torch_runs_without_the_compiler(packages):
    packages |= {"gnnrec.kernels.sums_cpu", "gnnrec.kernels.sums_triton"}
    assert chosen(CPU) == chosen(CUDA) == "gnnrec.kernels.sums_reference"


def test_plain_torch_runs_without_a_kernel_for_the_device(packages):
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
