"""Tensors in files of the safetensors format, which many programs read, and of which loading runs no code.

A file is the length of a JSON header (64 bits, little endian), the header, and the tensors one after another, in C
order. The header has type, shape and bytes of each tensor. Its tensors are ordered by the size of their type, largest
first, then by name: each begins at a multiple of that size, and the same tensors always give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gnnrec.errors import UserError
from gnnrec.training.checkpoint.info import Tensors
from gnnrec.training.checkpoint.tensors import Kind, kinds_of
from gnnrec.utils.stored import check_regular

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
#: Bytes before the header, and the most bytes of a header.
_BEFORE, _MOST = 8, 100_000_000
_WAY_OUT = "download it again, or publish the run again"


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Writes tensors that are in memory, with any strides.

    Raises:
        OSError: The file cannot be written.
    """
    write_pieces(path, kinds_of(tensors), {name: [tensor] for name, tensor in tensors.items()})


def write_pieces(path: Path, kinds: dict[str, Kind], pieces: dict[str, Iterable[Tensor]]) -> None:
    """Writes tensors of which only a piece at a time is in memory.

    Args:
        path: The file.
        kinds: Name -> shape and type of the whole tensor.
        pieces: Name -> its consecutive rows.

    Raises:
        OSError: The file cannot be written.
        ValueError: Pieces do not make up a tensor.
    """
    names = sorted(kinds, key=lambda name: (-kinds[name][1].itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        shape, dtype = kinds[name]
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _BEFORE)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(_BEFORE, "little") + text)
        for name in names:
            for piece in pieces[name]:
                if piece.dtype != kinds[name][1]:
                    raise ValueError(f"{name}: a piece is {piece.dtype}, not {kinds[name][1]}")
                file.write(piece.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
            if file.tell() != _BEFORE + len(text) + header[name]["data_offsets"][1]:
                raise ValueError(f"{name}: its pieces have another size than {kinds[name][0]}")


def read_tensors(path: Path) -> Tensors:
    """Maps the tensors of a file: only what is accessed is read. Changing them does not change the file.

    Raises:
        UserError: The file is missing or damaged.
    """
    check_regular(path, _WAY_OUT)
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(_BEFORE), "little")
            if not 0 < length <= min(size - _BEFORE, _MOST):
                raise ValueError("its header has no right length")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        header.pop("__metadata__", None)
        content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)[_BEFORE + length :]
        return _cut(header, content)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {_WAY_OUT}") from None
    except (ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): {_WAY_OUT}") from None


def _cut(header: dict[str, Any], content: Tensor) -> Tensors:
    """The tensors of a header, which must fill the content without gaps."""
    tensors: Tensors = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
        begin, stop = entry["data_offsets"]
        if any(type(length) is not int or length < 0 for length in shape):
            raise ValueError(f"{name} has the shape {shape}")
        if begin != end or stop - begin != math.prod(shape) * dtype.itemsize or stop > content.numel():
            raise ValueError(f"{name} is not where its header says")
        end = stop
        tensors[name] = content[begin:stop].view(dtype).reshape(shape)
    if end != content.numel():
        raise ValueError("bytes follow its last tensor")
    return tensors
