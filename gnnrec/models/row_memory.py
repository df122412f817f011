"""Where rows of users are kept: on the device, in host memory, or in files that the system can page out."""

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
        device: Where tensors are.
    """

    def __init__(self, device: torch.device):
        self.device = device

    def zeros(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A new tensor of zeros.

        Raises:
            UserError: There is no room.
        """
        return torch.zeros(*shape, dtype=dtype, device=self.device)

    def host_copy(self, tensor: Tensor) -> Tensor:
        """A copy in the memory of the host."""
        return tensor.detach().to("cpu", copy=True)

    @property
    def of_host(self) -> RowMemory:
        """Where what is read from a file goes first."""
        return RowMemory(torch.device("cpu"))


class FileMemory(RowMemory):
    """Files that are mapped into memory. They have no name once they are open, so they go when the process ends.

    Args:
        directory: Where they are, best on a local disk; it is made where it is missing.
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
                # A page of a mapped file that the disk has no room for would kill the process.
                os.posix_fallocate(file.fileno(), 0, size * dtype.itemsize)
                return torch.from_file(file.name, shared=True, size=size, dtype=dtype).view(*shape)
        except OSError as error:
            raise UserError(
                f"{self.directory}: cannot keep {size * dtype.itemsize / 2**20:.0f} MiB of user rows there "
                f"({error.strerror}): make room, or choose --user-rows host"
            ) from None

    def host_copy(self, tensor: Tensor) -> Tensor:
        try:
            return self.zeros(tensor.shape, tensor.dtype).copy_(tensor.detach())
        except UserError:  # a full disk does not end a run that is only about to be saved
            return super().host_copy(tensor)

    @property
    def of_host(self) -> RowMemory:
        return self


def row_memory(place: str, directory: Path) -> RowMemory | None:
    """The memory that ``user_rows`` of the configuration names; None for the device that computes.

    Args:
        place: ``device``, ``host`` or ``file``.
        directory: Where files go.
    """
    if place == "device":
        return None
    return FileMemory(directory) if place == "file" else RowMemory(torch.device("cpu"))
