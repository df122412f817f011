"""Features of users or movies in a prepared dataset: a mapped array, and the schema of its columns.

================================  ==============================================================================
``features.json``                 format version and, for ``user`` and ``movie``, ``rows``, ``columns`` and
                                  ``groups``: the schema
``user_features.npy``             float32 ``[users, columns]``, in the order of user rows
``movie_features.npy``            float32 ``[movies, columns]``
``user_feature_weights.npy``      float32 ``[weights]``: matrices that reduce vectors and text, one after another;
``movie_feature_weights.npy``     absent where no column is reduced
================================  ==============================================================================
"""

from __future__ import annotations

import dataclasses
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gnnrec.data.shard_check import AGAIN, part_checksum, whole_numbers
from gnnrec.errors import UserError
from gnnrec.utils.stored import read_json

#: File with the schema of all features.
SCHEMA_FILE = "features.json"
SCHEMA_VERSION = 1
#: A type of nodes.
Node = Literal["user", "movie"]
NODES: tuple[Node, ...] = ("user", "movie")
#: Kinds of columns.
KINDS = ("number", "category", "list", "vector", "date", "text")


def features_file(node: Node) -> str:
    """Name of the file with the features of ``user`` or ``movie``."""
    return f"{node}_features.npy"


def weights_file(node: Node) -> str:
    """Name of the file with the matrices that reduce vectors and text of ``user`` or ``movie``."""
    return f"{node}_feature_weights.npy"


@dataclasses.dataclass(frozen=True)
class FeatureGroup:
    """Columns of the array that come from one column of a table.

    Attributes:
        name: Name of the column in the table.
        kind: One of :data:`KINDS`.
        first: Its first column in the array.
        columns: Number of its columns in the array.
        details: Constants of the kind that encode new nodes in the same way, as JSON has them: ``categories``,
            ``mean``, ``deviation`` and others. ``missing`` is true if the last column is 1 for nodes without a value
            and else 0.
    """

    name: str
    kind: str
    first: int
    columns: int
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def slice(self) -> slice:
        """Columns of the array."""
        return slice(self.first, self.first + self.columns)

    def column_names(self) -> list[str]:
        """Names of its columns, such as ``genres=Drama`` and ``year (missing)``."""
        details, width = self.details, self.columns - bool(self.details.get("missing"))
        if "categories" in details and "weights" not in details:
            names = [f"{self.name}={category}" for category in details["categories"]]
            names += [f"{self.name} (rare)"] * bool(details["rare"])
        elif "parts" in details:
            names = [f"{self.name} ({part})" for part in details["parts"]]
        else:
            names = [self.name] * width if width < 2 else [f"{self.name} {position}" for position in range(width)]
        return names + [f"{self.name} (missing)"] * (self.columns - width)


@dataclasses.dataclass(frozen=True)
class NodeFeatures:
    """Features of all users or of all movies.

    Attributes:
        node: ``user`` or ``movie``.
        x: float32 ``[rows, columns]``, mapped: rows are read from the disk where they are used. Values have not been
            checked; :meth:`read` checks what it reads.
        schema: Groups of columns, in their order; together they have all columns of ``x``.
        weights: float32 ``[weights]``, mapped, or None: matrices that ``details`` of the schema refer to.
        path: File of ``x``, for messages.
        bounds: Rows at which the parts with a checksum start, and the number of rows.
        checksums: CRC-32 of each part, or None.
        sound_parts: Parts that have been checked.
    """

    node: Node
    x: np.ndarray
    schema: tuple[FeatureGroup, ...]
    weights: np.ndarray | None
    path: Path
    bounds: list[int]
    checksums: list[int] | None
    sound_parts: set[int] = dataclasses.field(default_factory=set, compare=False)

    def read(self, first: int = 0, end: int | None = None) -> np.ndarray:
        """Reads some rows: float32 ``[end - first, columns]``, a copy of rows that have been checked.

        Args:
            first: First row.
            end: Row after the last one; by default the number of rows.

        Raises:
            UserError: As :meth:`check` does.
        """
        end = len(self.x) if end is None else end
        self.check(first, end)
        return np.array(self.x[first:end])

    def check(self, first: int = 0, end: int | None = None) -> None:
        """Checks the parts that some rows are in, each at the first time that it is read.

        Parts of users are the shards of the dataset, and all movies are one part. Arguments as those of :meth:`read`.

        Raises:
            UserError: A value is not finite, or does not match its checksum.
        """
        end = len(self.x) if end is None else end
        last = min(bisect_left(self.bounds, end), len(self.bounds) - 1)
        for number in set(range(max(bisect_right(self.bounds, first) - 1, 0), last)) - self.sound_parts:
            part = self.x[slice(*self.bounds[number : number + 2])]
            if not np.isfinite(part).all():
                raise UserError(f"{self.path} is damaged: a value of part {number} is not finite: {AGAIN}")
            if self.checksums is not None and part_checksum(part) != self.checksums[number]:
                raise UserError(f"{self.path} is damaged: part {number} does not match its checksum: {AGAIN}")
            self.sound_parts.add(number)

    def has(self, name: str) -> bool:
        """Whether columns come from a column of this name in a table."""
        return any(group.name == name for group in self.schema)


def open_features(
    path_of: Callable[[str], Path], node: Node, files: dict[str, dict], shards: list[int], rows: int
) -> NodeFeatures | None:
    """Opens the features of ``user`` or ``movie``; None if the dataset has none of them.

    Args:
        path_of: Returns the path of a file of the prepared dataset.
        node: ``user`` or ``movie``.
        files: ``files`` of its manifest.
        shards: Row boundaries of the shards of users.
        rows: Number of users or of movies.

    Raises:
        UserError: A file is damaged, or the schema does not fit.
    """
    name = features_file(node)
    if name not in files:
        return None
    path = path_of(SCHEMA_FILE)
    if SCHEMA_FILE not in files:
        raise UserError(f"{path.parent}: manifest.json lists {name} without {SCHEMA_FILE}: {AGAIN}")
    content = read_json(path, AGAIN)
    if content.get("version") != SCHEMA_VERSION:
        raise UserError(
            f"{path} has version {content.get('version')}, but this program reads {SCHEMA_VERSION}: {AGAIN}"
        )
    try:
        entry = content[node]
        schema = tuple(FeatureGroup(**group) for group in entry["groups"])
        problem = _find_problem(schema, entry, rows)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        problem = f"{type(error).__name__} {error}"
    if problem:
        raise UserError(f"{path} is damaged ({problem}): {AGAIN}")
    x = _mapped(path_of(name), (rows, entry["columns"]))
    weights = None
    if weights_file(node) in files:
        weights = _mapped(path_of(weights_file(node)), None)
    available = 0 if weights is None else len(weights)
    for group in schema:
        start, inputs, width = group.details.get("weights", (0, 0, 0))
        if start + inputs * width > available:
            raise UserError(f"{path} is damaged (group {group.name} has weights that no file holds): {AGAIN}")
    bounds = list(shards) if node == "user" else [0, rows]
    return NodeFeatures(node, x, schema, weights, path_of(name), bounds, files[name].get("shards"))


def _find_problem(schema: tuple[FeatureGroup, ...], entry: dict, rows: int) -> str | None:
    if entry["rows"] != rows:
        return f"{entry['rows']} rows, not {rows}"
    end = 0
    for group in schema:
        place = group.details.get("weights", [0, 0, 0])
        numbers = (group.first, group.columns, *place)
        if not whole_numbers(numbers) or len(place) != 3 or group.kind not in KINDS:
            return f"group {group.name} is malformed"
        if group.first != end or not group.columns:
            return f"the columns of group {group.name} do not follow those before it"
        end += group.columns
    return None if end == entry["columns"] else f"groups of {end} columns, not {entry['columns']}"


def _mapped(path: Path, shape: tuple[int, int] | None) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): {AGAIN}") from None
    if array.dtype != np.float32 or array.shape != (shape or array.shape) or array.ndim != len(shape or [1]):
        expected = list(shape) if shape else "[weights]"
        raise UserError(f"{path} holds {array.dtype} {list(array.shape)}, not float32 {expected}: {AGAIN}")
    return array


def write_schema(directory: Path, schemas: dict[str, tuple[int, tuple[FeatureGroup, ...]]]) -> None:
    """Writes ``features.json``.

    Args:
        directory: Directory with the arrays.
        schemas: ``user`` or ``movie`` -> number of rows, and groups.
    """
    content: dict[str, Any] = {"version": SCHEMA_VERSION}
    for node, (rows, schema) in schemas.items():
        columns = sum(group.columns for group in schema)
        groups = [dataclasses.asdict(group) for group in schema]
        content[node] = {"rows": rows, "columns": columns, "groups": groups}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (directory / SCHEMA_FILE).write_text(text + "\n", encoding="utf-8")
