"""Errors of gloo, NCCL and the GPU: those that come from lost ranks, and those of this rank."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from gnnrec.distributed import process_group
from gnnrec.distributed.world import World
from gnnrec.errors import RanksLost

DIAGNOSIS = "rank 1 (host b, pid 7, last all-reduce 3) has sent no heartbeat for 60 s"
#: Texts of errors as torch and the libraries write them.
OF_BACKEND = [
    RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:535] Connection closed by peer"),
    RuntimeError("NCCL error in: ProcessGroupNCCL.cpp:1333, remote process exited or there was a network error"),
    RuntimeError("NCCL Error 6: remote process exited or there was a network error"),
    RuntimeError("NCCL communicator was aborted on rank 1."),
    RuntimeError("ncclRemoteError: A call failed possibly due to a network error or a remote process exiting"),
    dist.DistBackendError("NCCL communicator was aborted on rank 0."),
    dist.DistNetworkError("connection reset"),
    dist.DistStoreError("no answer"),
]
OF_DEVICE = [
    torch.AcceleratorError("CUDA error: unspecified launch failure"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
]
OF_PROGRAM = [
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    ValueError("NCCL error"),
    torch.OutOfMemoryError("CUDA out of memory"),
    NotImplementedError("/gloo/"),
]


class Monitor:
    """Health monitor that finds a given diagnosis."""

    def __init__(self, diagnosis: str | None):
        self.diagnosis, self.left = diagnosis, []

    def explain(self) -> str | None:
        return self.diagnosis

    def leave(self, reason: str, diagnosis: str = "") -> None:
        self.left.append((reason, diagnosis))


@pytest.fixture
def monitors(monkeypatch: pytest.MonkeyPatch) -> list[Monitor]:
    """The health monitors of this process: those of a rank among others, if a test adds one."""
    monkeypatch.setattr(process_group, "_monitors", [])
    monkeypatch.setattr(process_group, "init", lambda device: World())
    return process_group._monitors


def fail(error: BaseException) -> None:
    with process_group.process_group("cpu"):
        raise error


@pytest.mark.parametrize("error", OF_BACKEND, ids=str)
def test_errors_of_the_backend_name_the_lost_rank(monitors, error):
    monitors.append(monitor := Monitor(DIAGNOSIS))
    with pytest.raises(RanksLost, match="rank 1 .host b"):
        fail(error)
    assert monitor.left == [("lost other ranks", DIAGNOSIS)] and not monitors


@pytest.mark.parametrize("error", OF_BACKEND, ids=str)
def test_errors_of_the_backend_without_a_lost_rank_are_of_the_network(monitors, error):
    monitors.append(Monitor(None))
    with pytest.raises(RanksLost, match="ranks cannot reach each other"):
        fail(error)


@pytest.mark.parametrize("error", OF_DEVICE, ids=str)
def test_a_gpu_that_fails_with_another_rank_names_that_rank(monitors, error):
    monitors.append(Monitor(DIAGNOSIS))
    with pytest.raises(RanksLost, match="rank 1 .host b"):
        fail(error)


@pytest.mark.parametrize("error", OF_DEVICE, ids=str)
def test_a_gpu_that_fails_alone_is_an_error_of_this_rank(monitors, monkeypatch, error):
    destroyed = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: destroyed.append(True))
    monitors.append(monitor := Monitor(None))
    with pytest.raises(type(error)) as raised:
        fail(error)
    assert raised.value is error and not destroyed, "NCCL would wait for a broken device"
    ((reason, diagnosis),) = monitor.left
    assert reason.startswith(f"{type(error).__name__}: CUDA error") and not diagnosis


@pytest.mark.parametrize("error", OF_DEVICE + OF_PROGRAM, ids=str)
def test_other_errors_are_raised_as_they_are(monitors, error):
    with pytest.raises(type(error)) as raised:
        fail(error)
    assert raised.value is error and not process_group.is_of_backend(error)
