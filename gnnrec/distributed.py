"""Ranks, devices and collectives: the only place that knows gloo from NCCL."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gnnrec.errors import Stopped, UserError
from gnnrec.stopping import StopRequest, reason

Reduce = Callable[[Tensor], Tensor]


def identity(tensor: Tensor) -> Tensor:
    """The ``reduce`` hook where everything is on one rank."""
    return tensor


@dataclasses.dataclass
class Traffic:
    """What this rank handed to all-reduces, and how long it waited for them.

    On GPUs collectives run beside the host, so ``seconds`` is only what it takes to start them; a profile tells more.

    Attributes:
        seconds: Time in all-reduces.
        bytes: Bytes of their tensors.
    """

    seconds: float = 0.0
    bytes: int = 0

    def all_reduce(self, tensor: Tensor, op=dist.ReduceOp.SUM) -> Tensor:
        """Over ranks, in place."""
        started = time.perf_counter()
        # Backends take the memory of a tensor as it lies, gloo without a word also that between the rows of a view.
        whole = tensor.contiguous()
        dist.all_reduce(whole, op=op)
        self._add(whole, started)
        return tensor if whole is tensor else tensor.copy_(whole)

    def sum_gradients(self, bucket):  # DDP compares annotations by identity, so it has none
        """Communication hook of DDP: the sum over ranks, where DDP's own would be the mean."""
        started, buffer = time.perf_counter(), bucket.buffer()

        def finished(future):
            self._add(buffer, started)
            return future.value()[0]

        return dist.all_reduce(buffer, async_op=True).get_future().then(finished)

    def _add(self, tensor: Tensor, started: float) -> None:
        self.seconds += time.perf_counter() - started
        self.bytes += tensor.numel() * tensor.element_size()


class _SumOverRanks(torch.autograd.Function):
    """Sums forward and sums backward.

    Each rank's loss is its own share of the global loss, and the reduced value enters all of them; the derivative of
    the global loss by one rank's partial sum is therefore the sum of the derivatives that all ranks hold.
    """

    @staticmethod
    def forward(ctx, tensor: Tensor, traffic: Traffic) -> Tensor:
        ctx.traffic = traffic
        return traffic.all_reduce(tensor.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.traffic.all_reduce(gradient.clone(memory_format=torch.contiguous_format)), None


@dataclasses.dataclass(frozen=True)
class World:
    """The ranks of this job, seen from one of them.

    Attributes:
        rank: 0 to ``size - 1``.
        size: Number of ranks.
        device: Where this rank computes.
        traffic: What collectives of tensors cost so far.
        stop: Whether this rank was told to stop.
        control: A gloo group beside that of the tensors, for what the host alone has to know; None for the usual group.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")
    traffic: Traffic = dataclasses.field(default_factory=Traffic, compare=False, repr=False)
    stop: StopRequest = dataclasses.field(default_factory=StopRequest, compare=False, repr=False)
    control: dist.ProcessGroup | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def is_main(self) -> bool:
        """True on rank 0, which alone writes shared files and logs."""
        return self.rank == 0

    def reduce(self, tensor: Tensor) -> Tensor:
        """Differentiable sum over ranks (see :class:`_SumOverRanks`); the identity on one rank."""
        return tensor if self.size == 1 else _SumOverRanks.apply(tensor, self.traffic)

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over ranks in place, without gradient."""
        return tensor if self.size == 1 else self.traffic.all_reduce(tensor)

    def max_(self, tensor: Tensor) -> Tensor:
        """Maximum over ranks in place, without gradient."""
        return tensor if self.size == 1 else self.traffic.all_reduce(tensor, dist.ReduceOp.MAX)

    def total(self, number: float) -> float:
        """Sum of one number over ranks, in float64."""
        return self.sum_(torch.tensor(float(number), dtype=torch.float64, device=self.device)).item()

    def gather(self, tensor: Tensor) -> Tensor:
        """The same-shaped tensors of all ranks, stacked: ``[size, ...]``."""
        if self.size == 1:
            return tensor[None]
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.stack(parts)

    def gather_objects(self, item) -> list:
        """One picklable object of each rank, on every rank."""
        if self.size == 1:
            return [item]
        parts = [None] * self.size
        dist.all_gather_object(parts, item)
        return parts

    def broadcast_object(self, item):
        """Rank 0's picklable object, on every rank."""
        box = [item]
        if self.size > 1:
            dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def on_main(self, function: Callable[[], Any]) -> Any:
        """What ``function`` returns on rank 0, on every rank; a :class:`UserError` of it is raised on every rank."""
        result, problem = None, None
        if self.is_main:
            try:
                result = function()
            except UserError as error:
                problem = str(error)
        result, problem = self.broadcast_object((result, problem))
        if problem is not None:
            raise UserError(problem)
        return result

    def barrier(self) -> None:
        if self.size > 1:
            self.total(0)

    def poll(self) -> None:
        """Every rank calls this where all of them can stop.

        Raises:
            Stopped: One of them was told to.
        """
        told = Ballot(self)
        told.cast([self.stop.code])
        (code,) = told.result()
        if code:
            raise Stopped(reason(code))

    def replicate(self, module: nn.Module) -> nn.Module:
        """DDP around the replicated part of a model, with gradients *summed* over ranks.

        One bucket, so that every rank issues the same collectives in the same order; it shares the process group with
        :meth:`reduce`.
        """
        if self.size == 1 or not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        wrapped = DistributedDataParallel(module, bucket_cap_mb=1 << 20, gradient_as_bucket_view=True)
        wrapped.register_comm_hook(self.traffic, Traffic.sum_gradients)
        return wrapped

    def print(self, *values) -> None:
        """Prints on rank 0."""
        if self.is_main:
            print(*values, flush=True)


class Ballot:
    """Numbers of which every rank learns the highest, over the control group: no GPU waits for it.

    Args:
        world: The ranks; every rank makes the same calls.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._numbers: Tensor | None = None
        self._work: dist.Work | None = None

    def cast(self, numbers: list[int]) -> None:
        """Hands in this rank's numbers, and does not wait for those of the others."""
        self._numbers = torch.tensor(numbers, dtype=torch.int64)
        if self.world.size > 1:
            operation = dist.ReduceOp.MAX
            self._work = dist.all_reduce(self._numbers, op=operation, group=self.world.control, async_op=True)

    def result(self) -> list[int] | None:
        """The highest of each number that was handed in last; None before the first."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        return None if self._numbers is None else self._numbers.tolist()


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside DDP."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def start(device: str = "auto", timeout_minutes: float = 30) -> World:
    """Joins the process group that torchrun describes in the environment; one rank without torchrun.

    Args:
        device: ``auto`` (CUDA where there is any), ``cpu``, ``cuda``.
        timeout_minutes: After this time a collective that a rank does not join fails.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: choose auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu or auto")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpu:
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"local rank {local_rank} has no GPU ({torch.cuda.device_count()} visible): "
                "lower --nproc-per-node or pass --device cpu"
            )
        torch.cuda.set_device(local_rank)
    where = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    request = StopRequest()
    request.listen()
    if size == 1:
        return World(device=where, stop=request)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(minutes=timeout_minutes))
    control = dist.new_group(backend="gloo", timeout=timedelta(minutes=timeout_minutes))
    return World(dist.get_rank(), dist.get_world_size(), where, stop=request, control=control)


def stop() -> None:
    """Leaves the process group, if this process is in one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def share_cores() -> None:
    """Divides this machine's cores between its ranks, unless OMP_NUM_THREADS was set on purpose.

    torchrun sets OMP_NUM_THREADS=1 for more than one rank when nobody chose; two ranks on sixteen cores want eight.
    """
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    chosen = os.environ.get("OMP_NUM_THREADS")
    if chosen is None or (ranks > 1 and chosen == "1"):
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // ranks))
