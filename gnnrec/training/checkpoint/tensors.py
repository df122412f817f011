"""Reads the tensors of one file of a checkpoint, and checks them before anything is computed with them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gnnrec.errors import UserError
from gnnrec.training.checkpoint.info import USE_ANOTHER, Tensors
from gnnrec.training.finite import is_finite
from gnnrec.utils.resource_errors import reraise_out_of_memory
from gnnrec.utils.stored import check_regular

#: Shape and type of a tensor.
Kind = tuple[tuple[int, ...], torch.dtype]


def kinds_of(tensors: Tensors) -> dict[str, Kind]:
    """Shapes and types by name."""
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}


def load_tensors(path: Path, mapped: bool = False) -> Tensors:
    """Loads the dictionary of tensors in a file; loading runs no code.

    Args:
        path: A file, whose checksum may be right although its contents are not.
        mapped: Read only what is accessed later. The tensors stay readable when the file is removed.

    Raises:
        UserError: It holds something else than dense tensors of the host.
    """
    check_regular(path, USE_ANOTHER)
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # the errors of damaged archives and pickles are of many classes
        reraise_out_of_memory(error)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} holds no tensors ({reason}): {USE_ANOTHER}") from None
    if not isinstance(contents, dict):
        raise UserError(f"{path} holds a {type(contents).__name__}, not tensors by name: {USE_ANOTHER}")
    for name, tensor in contents.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{path} holds a {type(tensor).__name__} as {name!r}, not a tensor: {USE_ANOTHER}")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise UserError(f"{path}: {name} is not a dense tensor: {USE_ANOTHER}")
    return contents


def check_kinds(path: Path, tensors: Tensors, expected: dict[str, Kind]) -> None:
    """Raises a :class:`UserError` that names the first tensor which is missing, surplus or of another kind."""
    found = kinds_of(tensors)
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            here, wanted = (_shown(kinds.get(name)) for kinds in (found, expected))
            raise UserError(f"{path} does not fit the model of config.yaml: {name} is {here}, not {wanted}")


def check_finite(path: Path, tensors: Tensors) -> None:
    """Raises a :class:`UserError` that names the first tensor with NaN or infinite values."""
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise UserError(f"{path}: {name} has NaN or infinite values: {USE_ANOTHER}")


def _shown(kind: Kind | None) -> str:
    return "absent" if kind is None else f"{str(kind[1]).removeprefix('torch.')} {list(kind[0])}"
