"""Reads everything in a directory into flat keys, whatever the layout: arrays as checksums, numbers as they are.

No module of the program is imported, so the same reader serves every version of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from torch import Tensor

from benchmarks.same_numbers_names import is_ignored

#: Key -> number, truth value, None or, for an array, ``DTYPE [SHAPE] SHA-256``.
Record = dict[str, Any]

#: Endings of names of files that hold a range of rows or a number of a part: ``users-0-400``, ``part-0``.
_RANGE = re.compile(r"(^part)?(-\d+)+$")


def read_directory(directory: Path, prefix: str) -> Record:
    """Every value of every file below a directory.

    Files that hold ranges of rows of one table are put together, so a table has the same key on any number of ranks.
    Text in JSON and YAML files is left out: it holds names, paths, dates and checksums of whole files.

    Args:
        directory: The directory.
        prefix: What all keys begin with.

    Raises:
        ValueError: A file of an unknown kind.
    """
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in sorted(directory.rglob("*")):
        place = path.relative_to(directory)
        if path.is_file() and not any(part.startswith(".") for part in place.parts):
            stem = (place.parent / _RANGE.sub("", path.stem)).as_posix().strip("./")
            groups[stem, path.suffix].append(path)
    found: Record = {}
    for (stem, suffix), paths in groups.items():
        for name, value in _READERS.get(suffix, _unknown)(paths):
            key = "/".join(part for part in (prefix, stem, name) if part)
            if key in found:
                raise ValueError(f"{paths[0]}: {key} is there twice")
            if not is_ignored(key):
                found[key] = value
    return found


def is_array(value: Any) -> bool:
    """Whether a value of a record stands for an array."""
    return isinstance(value, str)


def _checksum(kind: object, shape: tuple[int, ...], content: Any) -> str:
    return f"{kind} {list(shape)} {hashlib.sha256(content).hexdigest()}"


def _of_numpy(array: np.ndarray) -> str:
    return _checksum(array.dtype, array.shape, np.ascontiguousarray(array).tobytes())


def _of_torch(tensor: Tensor) -> str:
    content = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return _checksum(tensor.dtype, tuple(tensor.shape), content)


def _tensors(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    parts: dict[str, list] = defaultdict(list)
    for path in paths:
        for name, value in _flat(torch.load(path, map_location="cpu", weights_only=True)):
            parts[name].append(value)
    for name, values in parts.items():
        if isinstance(values[0], Tensor):
            yield name, _of_torch(values[0] if len(values) == 1 else torch.cat(values))
        elif len(values) == 1:
            yield name, values[0]
        else:
            raise ValueError(f"{paths[0]}: {name} is not a tensor and is in {len(values)} files")


def _arrays(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    for name, array in np.load(_only(paths), allow_pickle=False).items():
        yield name, _of_numpy(array)


def _array(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    yield "", _of_numpy(np.load(_only(paths), allow_pickle=False))


def _columns(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            yield name, _of_numpy(column.flatten().to_numpy().reshape(len(column), -1))
        elif pa.types.is_primitive(column.type) and not column.null_count:
            yield name, _of_numpy(column.to_numpy())
        else:
            yield name, _checksum(column.type, (len(column),), json.dumps(column.to_pylist()).encode())


def _json(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    return _flat(json.loads(_only(paths).read_text(encoding="utf-8")))


def _json_lines(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    return _flat([json.loads(line) for line in _only(paths).read_text(encoding="utf-8").splitlines()])


def _yaml(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    return _flat(yaml.safe_load(_only(paths).read_text(encoding="utf-8")))


def _csv(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    yield "", _checksum("bytes", (_only(paths).stat().st_size,), _only(paths).read_bytes())


def _unknown(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    raise ValueError(f"{paths[0]}: there is no reader for such a file")


_READERS = {
    ".pt": _tensors, ".npz": _arrays, ".npy": _array, ".parquet": _columns, ".json": _json, ".jsonl": _json_lines,
    ".yaml": _yaml, ".csv": _csv,
}  # fmt: skip


def _only(paths: list[Path]) -> Path:
    (path,) = paths
    return path


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested dictionaries and lists that are tensors, numbers, truth values or None."""
    if isinstance(values, (dict, list, tuple)):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from _flat(value, f"{name}/{key}" if name else str(key))
    elif values is None or isinstance(values, (Tensor, bool, int, float)):
        yield name, values
    elif not isinstance(values, str):
        raise ValueError(f"{name}: {type(values).__name__} cannot be recorded")
