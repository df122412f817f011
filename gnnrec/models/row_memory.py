"""Memory of user rows: the device, host memory, or files that the system can page out."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gnnrec.errors import UserError


class RowMemory:
    """Memory of a device.

    Attributes:
        device: Device of the tensors.
    """

    def __init__(self, device: torch.device):
        self.device = device

    def zeros(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Allocates a tensor of zeros.

        Raises:
            UserError: The disk is full.
        """
        return torch.zeros(*shape, dtype=dtype, device=self.device)

    def host_copy(self, tensor: Tensor) -> Tensor:
        """Copies a tensor to the host."""
        return tensor.detach().to("cpu", copy=True)

    @property
    def host_memory(self) -> RowMemory:
        """Memory on the host, for data read from a file."""
        return RowMemory(torch.device("cpu"))


class FileMemory(RowMemory):
    """Memory-mapped files. They are unlinked once open, so they disappear when the process ends.

    Args:
        directory: Directory of the files, preferably on a local disk; created if missing.
    """

    def __init__(self, directory: Path):
        super().__init__(torch.device("cpu"))
        self.directory = directory

    def zeros(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        size = math.prod(shape)
        if not size:
            return super().zeros(shape, dtype)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.directory, prefix=".user-rows-", suffix=".tmp") as file:
                # Without reserved space, writing to a mapped page on a full disk would kill the process.
                os.posix_fallocate(file.fileno(), 0, size * dtype.itemsize)
                return torch.from_file(file.name, shared=True, size=size, dtype=dtype).view(*shape)
        except OSError as error:
            raise UserError(
                f"{self.directory}: cannot store {size * dtype.itemsize / 2**20:.0f} MiB of user rows "
                f"({error.strerror}): free disk space, or choose --user-rows host"
            ) from None

    def host_copy(self, tensor: Tensor) -> Tensor:
        try:
            return self.zeros(tensor.shape, tensor.dtype).copy_(tensor.detach())
        except UserError:  # a full disk must not end a run while it writes a checkpoint
            return super().host_copy(tensor)

    @property
    def host_memory(self) -> RowMemory:
        return self


def row_memory(kind: str, directory: Path) -> RowMemory | None:
    """Returns the memory for ``user_rows`` of the configuration; None for the compute device.

    Args:
        kind: ``device``, ``host`` or ``file``.
        directory: Directory of the files.
    """
    if kind == "device":
        return None
    return FileMemory(directory) if kind == "file" else RowMemory(torch.device("cpu"))
