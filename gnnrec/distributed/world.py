"""Ranks, devices and collectives, the same for gloo and NCCL."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gnnrec.distributed.collectives import CollectiveStats, SumOverRanks, UseOnRanks, track_collective
from gnnrec.distributed.shutdown import StopRequest, reason
from gnnrec.errors import Stopped, UserError
from gnnrec.utils.log import logger, print_line

Reduce = Callable[[Tensor], Tensor]


def identity(tensor: Tensor) -> Tensor:
    """The ``reduce`` hook on one rank."""
    return tensor


@dataclasses.dataclass(frozen=True)
class World:
    """The ranks of this job, seen from one of them.

    Attributes:
        rank: 0 to ``size - 1``.
        size: Number of ranks.
        device: Device of this rank.
        collective_stats: Cost of the collectives so far.
        stop: Stop request of this rank.
        control: A second gloo group for numbers that only hosts need; None for the default group.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")
    collective_stats: CollectiveStats = dataclasses.field(default_factory=CollectiveStats, compare=False, repr=False)
    stop: StopRequest = dataclasses.field(default_factory=StopRequest, compare=False, repr=False)
    control: dist.ProcessGroup | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def is_main(self) -> bool:
        """True on rank 0, which alone writes shared files and logs."""
        return self.rank == 0

    def reduce(self, tensor: Tensor) -> Tensor:
        """Differentiable sum over ranks of their own parts (:class:`~gnnrec.distributed.collectives.SumOverRanks`)."""
        return tensor if self.size == 1 else SumOverRanks.apply(tensor, self.collective_stats, self.size)

    def use(self, tensor: Tensor, rows: Tensor | None = None) -> Tensor:
        """Marks the use of a tensor that every rank has computed by what differs among ranks.

        Whatever is computed from a :meth:`reduce` needs it before each rank's own edges or targets enter
        (:class:`~gnnrec.distributed.collectives.UseOnRanks`).

        Args:
            tensor: The same on every rank, ``[n, ...]``.
            rows: The rows that any rank uses, int64 ``[rows]``, the same on every rank; None for all.
        """
        return tensor if self.size == 1 else UseOnRanks.apply(tensor, self.collective_stats, self.size, rows)

    def all_reduce_sum_(self, tensor: Tensor) -> Tensor:
        """Sum over ranks in place, without gradient."""
        return tensor if self.size == 1 else self.collective_stats.all_reduce(tensor)

    def sum_on_wire_(self, tensor: Tensor) -> Tensor:
        """Sum over ranks in place, without gradient, exchanged in the type of ``--wire``."""
        return tensor if self.size == 1 else self.collective_stats.sum_on_wire(tensor)

    def all_reduce_max_(self, tensor: Tensor) -> Tensor:
        """Maximum over ranks in place, without gradient."""
        return tensor if self.size == 1 else self.collective_stats.all_reduce(tensor, dist.ReduceOp.MAX)

    def all_reduce_scalar(self, number: float) -> float:
        """Sum of one number over ranks, in float64."""
        return self.all_reduce_sum_(torch.tensor(float(number), dtype=torch.float64, device=self.device)).item()

    def all_gather(self, tensor: Tensor) -> Tensor:
        """The same-shaped tensors of all ranks, stacked: ``[size, ...]``."""
        if self.size == 1:
            return tensor[None]
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with track_collective(self.collective_stats, "gather"):
            dist.all_gather(parts, tensor.contiguous())
        return torch.stack(parts)

    def all_gather_objects(self, item: Any) -> list:
        """One picklable object of each rank, on every rank."""
        if self.size == 1:
            return [item]
        parts = [None] * self.size
        with track_collective(self.collective_stats, "gather of objects"):
            dist.all_gather_object(parts, item)
        return parts

    def broadcast_object(self, item: Any) -> Any:
        """Rank 0's picklable object, on every rank."""
        box = [item]
        if self.size > 1:
            with track_collective(self.collective_stats, "broadcast"):
                dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def run_on_rank0(self, function: Callable[[], Any]) -> Any:
        """Calls a function on rank 0; every rank returns its result or raises its :class:`UserError`."""
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
            self.all_reduce_scalar(0)

    def check_stop(self) -> None:
        """Stops all ranks if one was asked to stop; every rank calls this.

        Raises:
            Stopped: A rank was asked to stop.
        """
        flags = AsyncMaxReduce(self)
        flags.start([self.stop.code])
        (code,) = flags.wait()
        if code:
            raise Stopped(f"by {reason(code)}")

    def lockstep(self, chunks: Sequence) -> Iterator:
        """Iterates over this rank's chunks with a :meth:`check_stop` before each, in as many rounds on every rank.

        Every rank calls this. The body of the loop must not call collectives: ranks may have fewer chunks than rounds.

        Raises:
            Stopped: A rank was asked to stop.
        """
        rounds = int(self.all_reduce_max_(torch.tensor(len(chunks), device=self.device)))
        for index in range(rounds):
            self.check_stop()
            if index < len(chunks):
                yield chunks[index]

    def replicate(self, module: nn.Module) -> nn.Module:
        """DDP around the replicated part of a model, with gradients *summed* over ranks.

        One bucket, so that every rank issues the same collectives in the same order; it shares the process group with
        :meth:`reduce`.
        """
        if self.size == 1 or not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        self.collective_stats.equal_gradients, self.collective_stats.gradient_rows = set(), {}
        wrapped = DistributedDataParallel(module, bucket_cap_mb=1 << 20, gradient_as_bucket_view=True)
        wrapped.register_comm_hook(self.collective_stats, CollectiveStats.sum_gradients)
        return wrapped

    def print(self, text: str) -> None:
        """Prints a result on rank 0."""
        if self.is_main:
            print_line(text)

    def log(self, text: str) -> None:
        """Logs progress on rank 0."""
        if self.is_main:
            logger.info(text)

    def warn(self, text: str) -> None:
        """Logs a warning on rank 0."""
        if self.is_main:
            logger.warning(text)


class AsyncMaxReduce:
    """Asynchronous maximum of integers over ranks on the control group, which does not block a GPU.

    Args:
        world: The ranks; every rank makes the same calls.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._numbers: Tensor | None = None
        self._work: dist.Work | None = None

    def start(self, numbers: list[int]) -> None:
        """Starts the reduction with this rank's numbers, without waiting for the other ranks."""
        self._numbers = torch.tensor(numbers, dtype=torch.int64)
        if self.world.size > 1:
            operation = dist.ReduceOp.MAX
            self._work = dist.all_reduce(self._numbers, op=operation, group=self.world.control, async_op=True)

    def wait(self) -> list[int] | None:
        """Waits for the maxima of the numbers started last; None before the first start."""
        if self._work is not None:
            with track_collective(self.world.collective_stats, "max of flags"):
                self._work.wait()
            self._work = None
        return None if self._numbers is None else self._numbers.tolist()


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside DDP."""
    return module.module if isinstance(module, DistributedDataParallel) else module
