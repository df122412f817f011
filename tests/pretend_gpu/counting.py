"""Counts what operators on the pretend GPU would cost on a real one: waits of the host, launches and bytes.

Launches of torch's operators are those of one call, roughly, from reading ATen's CUDA sources. Bytes are those of all
arguments and results, as if nothing stayed in caches; operators that read rows by index read only these rows. Triton's
kernels report launches and bytes themselves (:mod:`tests.pretend_gpu.triton_kernels`).
"""

from __future__ import annotations

import collections
import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import gnnrec

ROOT = str(Path(gnnrec.__file__).parent) + "/"
#: Operators that launch nothing.
VIEWS = frozenset(
    "view _unsafe_view slice select expand permute transpose t unsqueeze squeeze as_strided alias detach diagonal "
    "split split_with_sizes unbind _reshape_alias lift_fresh unfold empty empty_like new_empty empty_strided "
    "new_empty_strided".split()
)
#: Kernels of operators that launch several.
LAUNCHES = {
    "bincount": 6, "nonzero": 3, "sort": 8, "argsort": 8, "cumsum": 2, "repeat_interleave": 3, "topk": 4,
    "segment_reduce": 2, "_index_put_impl_": 8, "_fused_adam_": 2, "_foreach_copy_": 2,
}  # fmt: skip
#: Positions of the arguments that operators without a result change; of others it is the first one.
CHANGED = {"_fused_adam_": (0, 2, 3, 4)}
#: Operators whose result has a size that only the device knows.
SIZED_BY_VALUES = frozenset("nonzero _unique2 unique_consecutive unique_dim masked_select bincount".split())
INDEXING = frozenset("index index_put index_put_ _index_put_impl_".split())


@dataclasses.dataclass
class Counts:
    """Counts of operators on the device.

    Attributes:
        waits: Waits of the host for the device, by line and reason.
        operators: Calls of operators, and launches of Triton's kernels, by name.
        launches: Kernels, by line and operator or kernel of Triton.
        bytes: Bytes read and written, by operator or kernel of Triton.
        triton: Launches of Triton's kernels, by name.
        mixing: Operators and kernels that got tensors of two devices; each raises an error.
    """

    waits: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    operators: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    launches: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    bytes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    triton: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    mixing: int = 0

    def wait(self, reason: str) -> None:
        self.waits[f"{place()}: {reason}"] += 1

    def add(self, name: str, args: tuple, kwargs: dict, out: Any) -> None:
        """Counts one call with its arguments on the CPU."""
        reason = reason_to_wait(name, args, kwargs)
        if reason:
            self.wait(reason)
        if name in VIEWS or name == "_local_scalar_dense":
            return
        self.operators[name] += 1
        masked = name in INDEXING and any(mask is not None and mask.dtype == torch.bool for mask in args[1])
        self.launches[f"{place()}: {name}"] += LAUNCHES.get(name, 1) + 3 * masked
        self.bytes[name] += moved(name, args, kwargs, out)

    def add_launch(self, kernel: str, touched: int) -> None:
        """Counts one launch of a kernel of Triton that touched this many bytes."""
        self.launches[f"{place()}: {kernel}"] += 1
        for counter, number in ((self.operators, 1), (self.triton, 1), (self.bytes, touched)):
            counter[kernel] += number


def reason_to_wait(name: str, args: tuple, kwargs: dict) -> str:
    """Returns why the host waits in an operator; empty if it does not."""
    if name == "_local_scalar_dense":
        return "a number is read"
    if name in SIZED_BY_VALUES:
        return name
    if name == "repeat_interleave" and kwargs.get("output_size") is None:
        return "repeat_interleave without output_size"
    if name in INDEXING and any(mask is not None and mask.dtype in (torch.bool, torch.uint8) for mask in args[1]):
        value = args[2] if len(args) > 2 else None
        if not (value is not None and value.numel() == 1 and len(args[1]) == 1):
            return "boolean mask"
    return ""


def moved(name: str, args: tuple, kwargs: dict, out: Any) -> int:
    """Returns the bytes that an operator reads and writes."""
    read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if out is None:
        out = [args[number] for number in CHANGED.get(name, (0,))]
    written = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    if name in ("index", "index_select", "gather", "embedding"):
        return 2 * sum(map(size, written)) + sum(map(size, read[1:]))
    if name in ("sort", "argsort"):
        return 2 * read[0].numel() * read[0].element_size() * (read[0].element_size() + 8)
    known = {tensor.data_ptr() for tensor in read if tensor.numel()}
    fresh = written if name.endswith("_") else [tensor for tensor in written if tensor.data_ptr() not in known]
    return sum(map(size, read)) + sum(map(size, fresh))


def size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def place() -> str:
    """Returns the innermost line of the package that is running, or the derivative that autograd computes."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(ROOT):
            return f"{name.removeprefix(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    node = torch._C._current_autograd_node()
    return "derivative" if node is None else f"derivative {node.name()}"
