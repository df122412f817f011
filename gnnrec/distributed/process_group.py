"""Joining and leaving the process group, in order or after ranks were lost; the only module that selects a backend."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist

from gnnrec.distributed.collectives import CollectiveStats, track_collective
from gnnrec.distributed.devices import select_device
from gnnrec.distributed.health.diagnosis import DONE, RankStatus, Timeouts
from gnnrec.distributed.health.monitor import HealthMonitor
from gnnrec.distributed.health.startup_barrier import startup_barrier
from gnnrec.distributed.shutdown import StopRequest, reason
from gnnrec.distributed.world import World
from gnnrec.errors import RanksLost, Stopped, UserError
from gnnrec.utils.cores import usable_cores

#: Parts of the texts of errors from gloo and NCCL that have no type of their own.
_BACKEND_MARKS = ("/gloo/", "NCCL error", "NCCL Error", "NCCL communicator", "ncclRemoteError", "ncclSystemError")

#: The health monitor of this process; none without other ranks.
_monitors: list[HealthMonitor] = []


def init(device: str = "auto", timeout_minutes: float = 30) -> World:
    """Joins the process group that torchrun describes in the environment; one rank without torchrun.

    Args:
        device: ``auto`` (CUDA where there is any), ``cpu``, ``cuda``.
        timeout_minutes: A collective that a rank does not join fails after this time.
    """
    size, local_rank = _number("WORLD_SIZE", 1), _number("LOCAL_RANK", 0)
    torch_device = select_device(device, local_rank)
    on_gpu = torch_device.type == "cuda"
    request = StopRequest()
    request.listen()
    if size == 1:
        return World(device=torch_device, stop=request)
    rank, collective_stats = _number("RANK", 0), CollectiveStats(cuda=on_gpu)
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise UserError(f"WORLD_SIZE is {size}, but {name} is not set: start the ranks with torchrun")
    timeouts = Timeouts.from_environment()
    timeout = max(timedelta(minutes=timeout_minutes), timedelta(seconds=2 * timeouts.stall))

    def check_stop() -> None:
        if request.code:
            raise Stopped(f"by {reason(request.code)}")

    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=timeout))
    except dist.DistNetworkError as error:
        if "EADDRINUSE" not in str(error):
            raise
        raise UserError(
            f"port {os.environ['MASTER_PORT']} is in use: choose another MASTER_PORT (torchrun: --standalone finds one)"
        ) from None
    health_store = dist.PrefixStore("gnnrec", store)
    status = RankStatus.of_this_process().to_json()
    name = startup_barrier(health_store, rank, size, status, timeouts.stall, timeouts.lost, check_stop)
    _monitors.append(HealthMonitor(health_store, name, rank, size, collective_stats, timeouts, asynchronous=on_gpu))
    _monitors[-1].start()
    with track_collective(collective_stats, "init_process_group"):
        group_store, backend = dist.PrefixStore(f"{name}/group", store), "nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, store=group_store, rank=rank, world_size=size, timeout=timeout)
        control = dist.new_group(backend="gloo", timeout=timeout)
    return World(rank, size, torch_device, collective_stats, request, control)


def _number(name: str, default: int) -> int:
    """An environment variable that torchrun sets."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise UserError(f"{name}={text}: must be a number, as torchrun sets it: start the ranks with torchrun")
    return int(text)


def destroy(error: BaseException | None = None) -> None:
    """Leaves the process group, if this process is in one.

    Args:
        error: The error with which this rank leaves before the others; it is reported to them.
    """
    _leave_monitors(error)
    if dist.is_initialized():
        dist.destroy_process_group()


@contextlib.contextmanager
def process_group(device: str = "auto") -> Iterator[World]:
    """Context of the ranks of this job (:func:`init`).

    Raises:
        RanksLost: Replaces the error of a collective that failed because other ranks were lost.
    """
    try:
        yield init(device)
    except BaseException as error:
        if is_of_backend(error):
            # The process group is not destroyed: that may wait for lost ranks.
            diagnosis = _monitors[0].explain() if _monitors else None
            if diagnosis is None and _is_of_device(error):
                _leave_monitors(error)
                raise
            diagnosis = diagnosis or f"ranks cannot reach each other ({str(error).splitlines()[0]})"
            while _monitors:
                _monitors.pop().leave("lost other ranks", diagnosis=diagnosis)
            raise RanksLost(diagnosis) from error
        destroy(error)
        raise
    destroy()


def _leave_monitors(error: BaseException | None) -> None:
    while _monitors:
        _monitors.pop().leave(DONE if error is None else f"{type(error).__name__}: {str(error).strip()[:300]}")


def is_of_backend(error: BaseException) -> bool:
    """Whether an error comes from gloo, NCCL or the store, or may come from them through the GPU.

    NCCL's kernels read the memory of GPUs of other ranks. If such a rank ends, the CUDA context of this one can fail;
    the error then says nothing about ranks. It is the backend's if the health monitor finds a lost rank.
    """
    if isinstance(error, dist.DistError) or _is_of_device(error):
        return True
    return type(error) is RuntimeError and any(mark in str(error) for mark in _BACKEND_MARKS)


def _is_of_device(error: BaseException) -> bool:
    """Whether a GPU failed under this rank while there are others."""
    of_accelerator = type(error).__name__ == "AcceleratorError"
    return bool(_monitors) and (of_accelerator or (type(error) is RuntimeError and "CUDA error" in str(error)))


def share_cores() -> None:
    """Divides this machine's cores among its ranks, unless OMP_NUM_THREADS asks for fewer threads per rank.

    torchrun sets OMP_NUM_THREADS=1 for several ranks if the variable is not set; two ranks on 16 cores want 8 threads.
    """
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    variable, share = os.environ.get("OMP_NUM_THREADS"), max(1, usable_cores() // ranks)
    if variable is None or (ranks > 1 and (variable == "1" or torch.get_num_threads() > share)):
        torch.set_num_threads(share)
