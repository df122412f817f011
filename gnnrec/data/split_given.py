"""Splits of the user's own: three files, or a column that names the split of each rating."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnnrec.data import draws
from gnnrec.data.prepared import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from gnnrec.data.split_input import SplitInput

#: Further names of the splits in a column, in lower case.
_SYNONYMS = {
    "training": TRAIN, "base": TRAIN, "valid": VALIDATION, "val": VALIDATION, "dev": VALIDATION, "testing": TEST,
    "held-out": TEST, "heldout": TEST,
}  # fmt: skip
SPLITS_BY_NAME = {name: split for split, name in enumerate(SPLIT_NAMES)} | _SYNONYMS


def parse_split(value: object) -> int | None:
    """Returns the split that a value of the column names, or None."""
    return SPLITS_BY_NAME.get(str(value).strip().lower())


def parse_splits(column: pa.ChunkedArray) -> np.ndarray:
    """Converts a column of names of splits to uint8 ``[ratings]``.

    Raises:
        pyarrow.ArrowInvalid: A value names no split.
    """
    kind = pa.dictionary(pa.int32(), pa.string())
    if column.type != kind:
        column = column.cast(pa.string()).dictionary_encode()
    splits = []
    for chunk in column.unify_dictionaries().chunks:
        parsed = [parse_split(name) for name in chunk.dictionary.to_pylist()]
        used = pc.unique(chunk.indices).to_pylist()
        if any(parsed[index] is None for index in used):
            raise pa.ArrowInvalid("a split is unknown")
        table = np.array([TRAIN if split is None else split for split in parsed], np.uint8)
        splits.append(table[chunk.indices.to_numpy()] if len(table) else np.zeros(0, np.uint8))
    return np.concatenate(splits) if splits else np.zeros(0, np.uint8)


def given(data: SplitInput) -> np.ndarray:
    """Uses the given split; of the train ratings, the share ``validation`` is drawn at random for validation."""
    assert data.given is not None  # set with this protocol
    split = data.given.copy()
    if data.validation:
        pairs = data.pair_counters()
        for first, end in data.user_blocks():
            block = split[data.user_ptr[first] : data.user_ptr[end]]
            draw = draws.uniform(data.key("rating"), pairs(first, end)[1])
            block[(block == TRAIN) & (draw < data.validation)] = VALIDATION
    return split
