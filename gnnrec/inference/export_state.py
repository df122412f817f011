"""Tensors that an unfinished export keeps, so that old and new parts are consistent when it is resumed."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import torch

from gnnrec.inference.export_directory import ExportDirectory


def has_state(directory: ExportDirectory, name: str) -> bool:
    """Returns whether the export has the state; on rank 0."""
    return directory.has(directory.state_file(name))


def write_state(directory: ExportDirectory, name: str, state: dict[str, Any]) -> None:
    """Writes tensors and numbers by name; on rank 0."""
    buffer = io.BytesIO()  # torch's own writer does not report a full disk
    torch.save(state, buffer)
    directory.write(directory.state_file(name), partial(_write, buffer))


def read_state(directory: ExportDirectory, name: str) -> dict[str, Any]:
    """Reads what :func:`write_state` has written, to the CPU."""
    return torch.load(directory.path / directory.state_file(name), map_location="cpu", weights_only=True)


def _write(buffer: io.BytesIO, path: Any) -> None:
    path.write_bytes(buffer.getbuffer())
