"""Parses a column of a table as one of the kinds; a value that does not fit is named with its file, column and row."""

from __future__ import annotations

import datetime
import re
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnnrec.data.features.categories import CategoryColumn, ListColumn
from gnnrec.data.features.kinds import Column
from gnnrec.data.features.numbers import DateColumn, NumberColumn
from gnnrec.data.features.table import FeatureTable
from gnnrec.data.features.texts import TextColumn
from gnnrec.data.features.vectors import VectorColumn
from gnnrec.data.layout import MISSING, as_number, shown
from gnnrec.data.reading import times

#: Between the categories of a list.
SEPARATOR = "|"
#: The category of lists without one.
_EMPTY = ("(no genres listed)",)
#: Dates with the name of the month, as ml-100k has them.
_NAMED_MONTH = re.compile(r"\d{1,2}-[A-Za-z]{3}-\d{4}")


def is_list(kind: pa.DataType) -> bool:
    """Returns whether a type of Arrow has a list in each row."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """Returns whether a type of Arrow is text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def plain(column: pa.Array | np.ndarray) -> pa.Array | np.ndarray:
    """Decodes dictionaries; missing values are null: NaN, and text such as NA. Other text is trimmed.

    Arrays of vectors are returned as they are.
    """
    if isinstance(column, np.ndarray):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        column = pc.if_else(pc.is_in(column, pa.array(MISSING)), pa.scalar(None, pa.string()), column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column


def parse(table: FeatureTable, name: str, kind: str) -> Column:
    """Parses a column.

    Args:
        table: The table.
        name: Name of the column, which :func:`plain` has returned.
        kind: One of :data:`gnnrec.data.features.node_features.KINDS`, or ``category:N``: its first N letters.

    Raises:
        UserError: A value does not fit the kind.
    """
    kind, _, letters = kind.partition(":")
    source = table.columns[name]
    if isinstance(source, np.ndarray):
        if kind != "vector":
            raise table.error(0, f"'{shown(name)}' holds vectors, not {kind}: leave it out of --feature-types")
        return _checked(table, name, VectorColumn(source, np.zeros(len(source), bool)))
    column = source
    if kind == "vector":
        return _checked(table, name, _vectors(table, name, column))
    if is_list(column.type) and pa.types.is_nested(column.type.value_type):
        _refuse(table, name, 0, f"holds {column.type}, which is no feature: leave it out ({shown(name)}=drop)")
    if kind == "list":
        return _lists(table, name, column)
    if pa.types.is_nested(column.type):
        _refuse(table, name, 0, f"holds {column.type}, not {kind}: give it another kind")
    if kind == "number":
        return NumberColumn(_numbers(table, name, column))
    if kind == "date":
        return DateColumn(_dates(table, name, column))
    texts = _texts(column)
    if kind == "text":
        return TextColumn(texts)
    if letters:
        texts = pc.utf8_slice_codeunits(texts, 0, int(letters))
    encoded = texts.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy().astype(np.int64)
    return CategoryColumn(codes, encoded.dictionary.to_pylist(), int(letters) if letters else None)


def parsed_number(values: pa.Array) -> pa.Array | None:
    """Converts text, numbers or booleans without missing values in text to float64; None if some value is no number."""
    try:
        if pa.types.is_boolean(values.type):
            return values.cast(pa.int8()).cast(pa.float64())
        return values.cast(pa.float64(), safe=False)
    except pa.ArrowException:
        if not is_text(values.type):
            return None
    numbers = [None if text is None else as_number(text) for text in values.to_pylist()]
    lost = any(number is None and text is not None for number, text in zip(numbers, values.to_pylist()))
    return None if lost else pa.array(numbers, pa.float64())


def parsed_dates(values: pa.Array) -> np.ndarray | None:
    """Converts text, dates or numbers to datetime64[D] ``[rows]``, NaT where null; None if some value is no date."""
    known = values.drop_null()
    days = np.full(len(values), np.datetime64("NaT", "D"))
    if not len(known):
        return days
    if is_text(values.type) and _NAMED_MONTH.fullmatch(str(known[0])):
        try:
            parsed = [datetime.datetime.strptime(text, "%d-%b-%Y").date() for text in known.to_pylist()]
        except ValueError:
            return None
        days[~_is_null(values)] = np.array(parsed, "datetime64[D]")
        return days
    unit = times.detect_unit(known.slice(0, 1000).to_pylist())
    if is_text(values.type) and unit == "s":  # numbers as small as years are no times
        return None
    try:
        seconds = times.seconds(pa.chunked_array([known]), unit)
    except (pa.ArrowException, ValueError, OverflowError):
        return None
    days[~_is_null(values)] = (seconds // 86400).astype("datetime64[D]")
    return days


def _is_null(values: pa.Array) -> np.ndarray:
    return values.is_null().to_numpy(zero_copy_only=False)


def _refuse(table: FeatureTable, name: str, row: int, problem: str) -> NoReturn:
    raise table.error(row, f"column '{shown(name)}' {problem}")


def _numbers(table: FeatureTable, name: str, column: pa.Array) -> np.ndarray:
    numbers = parsed_number(column)
    if numbers is None:
        first = next(row for row, text in enumerate(column.to_pylist()) if text is not None and as_number(text) is None)
        hint = f"correct it, or read categories (--feature-types {name}=category)"
        _refuse(table, name, first, f"holds '{shown(column[first])}', which is not a number: {hint}")
    values = numbers.to_numpy(zero_copy_only=False).astype(np.float64)
    if np.isinf(values).any():
        _refuse(table, name, int(np.flatnonzero(np.isinf(values))[0]), "is infinite: correct it or leave it empty")
    return values


def _dates(table: FeatureTable, name: str, column: pa.Array) -> np.ndarray:
    days = parsed_dates(column)
    if days is None:
        rows = (
            row for row in range(len(column)) if column[row].is_valid and parsed_dates(column[row : row + 1]) is None
        )
        first = next(rows, 0)
        _refuse(
            table, name, first, f"holds '{shown(column[first])}', which is not a date such as 2014-05-13: correct it"
        )
    return days


def _texts(column: pa.Array) -> pa.Array:
    """Text of values; whole numbers have no decimal part."""
    if pa.types.is_floating(column.type):
        whole = pc.all(pc.equal(column, pc.floor(column))).as_py() is not False
        column = column.cast(pa.int64() if whole else column.type, safe=False)
    return column.cast(pa.string())


def _lists(table: FeatureTable, name: str, column: pa.Array) -> ListColumn:
    if not is_list(column.type):
        column = pc.split_pattern(_texts(column), SEPARATOR)
    column = column.cast(pa.list_(pa.string()))
    missing = _is_null(column)
    length = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    names = pc.utf8_trim_whitespace(column.flatten())
    kept = ~(_is_null(names) | pc.fill_null(pc.is_in(names, pa.array([*MISSING, *_EMPTY])), True).to_numpy(False))
    owner = np.repeat(np.arange(len(column)), length)[kept]
    encoded = names.filter(pa.array(kept)).dictionary_encode()
    ptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(column)))])
    return ListColumn(ptr, encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist(), missing)


def _vectors(table: FeatureTable, name: str, column: pa.Array) -> VectorColumn:
    if is_text(column.type):  # 0.1 0.2 0.3, or [0.1, 0.2, 0.3]
        bare = pc.utf8_trim(pc.replace_substring_regex(column, r"[\s,;]+", " "), "[]() ")
        column = pc.split_pattern(bare, " ")
    if not is_list(column.type):
        _refuse(table, name, 0, "holds no lists: a vector is a list of numbers")
    missing = _is_null(column)
    known = column.filter(pa.array(~missing)) if missing.any() else column
    length = pc.list_value_length(known).to_numpy().astype(np.int64)
    rows = np.flatnonzero(~missing)
    if not len(rows):
        return VectorColumn(np.zeros((len(missing), 1), np.float32), missing)
    usual = int(np.bincount(length).argmax())
    if not usual:
        _refuse(table, name, int(rows[0]), "has only empty lists: leave it out")
    if (wrong := np.flatnonzero(length != usual)).size:
        row = int(rows[wrong[0]])
        _refuse(
            table, name, row, f"has a vector of {length[wrong[0]]} numbers where others have {usual}: correct that row"
        )
    entries = known.flatten()
    is_float = pa.types.is_float32(entries.type) or pa.types.is_float64(entries.type)
    flat = entries if is_float else parsed_number(entries)
    if flat is None or flat.null_count:
        texts = entries.to_pylist()
        first = next((at for at, value in enumerate(texts) if as_number(value) is None), 0)
        row = int(rows[first // usual])
        _refuse(table, name, row, "has a vector with a value that is no number: correct that row")
    numbers = flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, usual)
    if missing.any():
        values = np.zeros((len(missing), usual), np.float32)
        values[~missing] = numbers
    else:
        values = numbers
    return VectorColumn(values, missing)


def _checked(table: FeatureTable, name: str, vectors: VectorColumn) -> VectorColumn:
    """Refuses vectors with infinite or missing numbers."""
    for first in range(0, len(vectors.values), 1 << 14):
        finite = np.isfinite(vectors.values[first : first + (1 << 14)]).all(1)
        if not finite.all():
            row = first + int(np.flatnonzero(~finite)[0])
            _refuse(table, name, row, "has a vector with a number that is infinite or missing: correct that row")
    return vectors
