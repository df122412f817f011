"""Collectives on tensors, with their cost and the ones that this rank is in."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gnnrec.utils.timer import Timer


@dataclasses.dataclass
class CollectiveStats:
    """Bytes and seconds of this rank's all-reduces, and the collectives that it has entered.

    On GPUs collectives are asynchronous; ``seconds`` counts them once the GPU has finished them.

    Attributes:
        cuda: Tensors are on a GPU.
        wire: Type in which sums of messages, of residuals over time, and of gradients are exchanged; None for their
            own, at least float32.
        equal_gradients: Addresses of replicated tables whose gradients every rank computes (:class:`UseOnRanks`): they
            are multiplied by the number of ranks instead of exchanged.
        gradient_rows: Rows of replicated tables whose gradients are nonzero on any rank, by the address of the table,
            int64 ``[rows]``, the same on every rank; tables that are absent are exchanged whole.
        in_batch: Set while a batch is made: all-reduces then count into ``batch_seconds``.
        bytes: Bytes of the tensors passed to all-reduces.
        entered: Number of collectives of any kind entered so far.
        open: Collectives not left yet: number -> name and time of entry (``time.perf_counter``).
        changed: When this rank last entered or left a collective.
    """

    cuda: bool = False
    wire: torch.dtype | None = None
    equal_gradients: set[int] = dataclasses.field(default_factory=set)
    gradient_rows: dict[int, Tensor] = dataclasses.field(default_factory=dict)
    in_batch: bool = False
    bytes: int = 0
    entered: int = 0
    open: dict[int, tuple[str, float]] = dataclasses.field(default_factory=dict)
    changed: float = dataclasses.field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self._in_batches, self._in_steps = Timer(self.cuda), Timer(self.cuda)

    @property
    def seconds(self) -> float:
        """Time in all-reduces."""
        return self.batch_seconds + self._in_steps.seconds

    @property
    def batch_seconds(self) -> float:
        """Part of :attr:`seconds` spent while batches were made."""
        return self._in_batches.seconds

    def all_reduce(self, tensor: Tensor, op: Any = dist.ReduceOp.SUM) -> Tensor:
        """All-reduces a tensor in place."""
        # Backends read the memory of a tensor as one block; gloo silently includes the gaps between rows of a view.
        whole = tensor.contiguous()
        with track_collective(self, "all-reduce"), self._timer:
            dist.all_reduce(whole, op=op)
        self.bytes += whole.numel() * whole.element_size()
        return tensor if whole is tensor else tensor.copy_(whole)

    def sum_on_wire(self, tensor: Tensor) -> Tensor:
        """All-reduces (sum) a tensor in place, exchanged as :attr:`wire`."""
        narrow = tensor.dtype in (torch.bfloat16, torch.float16)  # under autocast
        sent = self.wire or (torch.float32 if narrow else tensor.dtype)
        return self.all_reduce(tensor) if sent == tensor.dtype else tensor.copy_(self.all_reduce(tensor.to(sent)))

    # DDP compares annotations by identity, so it has none.
    def sum_gradients(self, bucket):  # type: ignore[no-untyped-def]
        """Communication hook of DDP that sums gradients over ranks; DDP itself would average them."""
        buffer, tracked, timer = bucket.buffer(), track_collective(self, "all-reduce of gradients"), self._timer
        gradients, addresses = bucket.gradients(), [parameter.data_ptr() for parameter in bucket.parameters()]
        exchanged, parts, sent = [], [], buffer
        for gradient, address in zip(gradients, addresses):
            if address in self.equal_gradients:
                gradient.mul_(dist.get_world_size())
            else:
                row = self.gradient_rows.get(address)
                exchanged.append((gradient, row))
                parts.append(gradient if row is None else gradient.index_select(0, row))
        whole = len(parts) == len(gradients) and all(row is None for _, row in exchanged)
        if not whole:
            sent = torch.cat([part.flatten() for part in parts])
        sent = sent if self.wire is None else sent.to(self.wire)

        def finished(future: torch.futures.Future) -> Tensor:
            tracked.__exit__()
            timer.stop(started)
            summed = future.value()[0]
            if whole:
                return buffer if self.wire is None else buffer.copy_(summed)
            for (gradient, row), part, total in zip(exchanged, parts, summed.split([part.numel() for part in parts])):
                total = total.view_as(part).to(gradient.dtype)
                gradient.copy_(total) if row is None else gradient.index_copy_(0, row, total)
            return buffer

        tracked.__enter__()
        started = timer.start()
        self.bytes += sent.numel() * sent.element_size()
        return dist.all_reduce(sent, async_op=True).get_future().then(finished)

    @property
    def _timer(self) -> Timer:
        return self._in_batches if self.in_batch else self._in_steps


class track_collective:
    """Marks the time between entering a collective and leaving it, in ``collective_stats``.

    Other threads read ``collective_stats.open``, and DDP leaves from its own thread: a dictionary allows both.
    """

    __slots__ = ("name", "number", "started", "collective_stats")

    def __init__(self, collective_stats: CollectiveStats, name: str):
        self.collective_stats, self.name = collective_stats, name

    def __enter__(self) -> track_collective:
        collective_stats = self.collective_stats
        self.started = collective_stats.changed = time.perf_counter()
        collective_stats.entered = self.number = collective_stats.entered + 1
        collective_stats.open[self.number] = (self.name, self.started)
        return self

    def __exit__(self, *_: object) -> None:
        self.collective_stats.open.pop(self.number, None)
        self.collective_stats.changed = time.perf_counter()


class SumOverRanks(torch.autograd.Function):
    """Sum over ranks of what each rank computed from its own edges, the same on every rank afterwards.

    The backward pass needs no collective. The gradient of the sum is computed by every rank, from the gradients that
    :class:`UseOnRanks` has averaged: each rank's own part has that gradient times the number of ranks.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, collective_stats: CollectiveStats, size: int) -> Tensor:
        ctx.size = size
        return collective_stats.sum_on_wire(tensor.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.size, None, None


class UseOnRanks(torch.autograd.Function):
    """Marks where ranks use a tensor that all of them have computed, each for its own edges or targets.

    Each rank's loss is its own share of the global loss. The backward pass averages the gradients over ranks. So what
    every rank computes before this point has the gradient of the global loss over the number of ranks, and the sum over
    ranks, which DDP takes of all parameters, is right for parameters before this point, after it, and on both sides.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, collective_stats: CollectiveStats, size: int, rows: Tensor | None) -> Tensor:
        ctx.collective_stats, ctx.size, ctx.rows = collective_stats, size, rows
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        if ctx.rows is None:
            summed = ctx.collective_stats.sum_on_wire(gradient.clone(memory_format=torch.contiguous_format))
        else:
            rows = ctx.collective_stats.sum_on_wire(gradient.index_select(0, ctx.rows))
            summed = torch.zeros_like(gradient).index_copy_(0, ctx.rows, rows)
        return summed.div_(ctx.size), None, None, None
