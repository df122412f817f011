"""Finds the first wrong row of a ratings file after the fast reader has failed.

This pass reads the file row by row in Python (about a minute for 20 million rows); it never runs for valid files.
"""

from __future__ import annotations

import math
from typing import NoReturn

from gnnrec.data.ids import is_integral
from gnnrec.data.layout import ID_ROLES, READING_ERRORS, Layout, as_number, is_missing, shown, unreadable
from gnnrec.data.prepared import SPLIT_NAMES
from gnnrec.data.reading.rows import MalformedRow, rows
from gnnrec.data.reading.times import parse_text
from gnnrec.data.split_given import parse_split
from gnnrec.errors import UserError

_REPAIR = "correct or remove that row"
#: Share of the ratings below which ids that are no integers are taken for mistakes among integers.
_MISTAKES = 0.01


def raise_first_error(
    layout: Layout, reason: str = "", integer_ids: tuple[str, ...] = (), scale: tuple[float, float] | None = None
) -> NoReturn:
    """Raises the error for the first wrong row.

    Args:
        layout: The file.
        reason: Message of the fast reader, used if no row is found to be wrong.
        integer_ids: Roles (``user``, ``movie``) whose ids must be integers.
        scale: Lowest and highest allowed rating.

    Raises:
        UserError: Always.
    """
    if error := _first_error(layout, integer_ids, scale):
        raise error
    reason = shown((reason or "its values cannot be converted").splitlines()[0].rstrip(". "), 120)
    raise UserError(f"{layout.path} cannot be read ({reason}): correct the file")


def refuse_mixed_ids(
    layouts: list[Layout], role: str, integer_rows: int, total: int, other_ids: tuple[str, ...]
) -> None:
    """Refuses ids that are no integers where the others are integers: one such id, or less than 1 % of the ratings.

    In GroupLens layouts none is allowed.

    Args:
        layouts: All files.
        role: ``user`` or ``movie``.
        integer_rows: Number of ratings whose id is an integer.
        total: Number of ratings.
        other_ids: At least two of the ids that are no integers, if there are two.

    Raises:
        UserError: Names the first row with such an id.
    """
    if role in layouts[0].text_ids or not integer_rows or not other_ids:
        return
    few = len(other_ids) == 1 or total - integer_rows < _MISTAKES * total
    if few or any(layout.grouplens for layout in layouts):
        for layout in layouts:
            if error := _first_error(layout, (role,), None):
                raise error
        raise UserError(
            f"{layouts[0].path}: the {role} id '{shown(other_ids[0])}' is not an integer, but other {role} ids are: "
            "correct it, or pass --ids text"
        )


def place_of_text_id(layout: Layout, role: str) -> str | None:
    """File and row of the first id that is not an integer; None if all of them are."""
    for number, row in rows(layout):
        if not is_integral(str(row[layout.header.index(layout.columns[role])])):
            return f"{layout.path} {layout.row_unit} {number}"
    return None


def _first_error(layout: Layout, integer_ids: tuple[str, ...], scale: tuple[float, float] | None) -> UserError | None:
    try:
        for number, row in rows(layout):
            if problem := _problem(layout, row, integer_ids, scale):
                return UserError(f"{layout.path} {layout.row_unit} {number}: {problem}")
    except MalformedRow as error:
        return UserError(f"{layout.path} {layout.row_unit} {error.line}: malformed row ({shown(error, 80)}): {_REPAIR}")
    except READING_ERRORS as error:
        return unreadable(layout.path, error)
    return None


def _problem(layout: Layout, row: list, integer_ids: tuple[str, ...], scale: tuple[float, float] | None) -> str | None:
    if len(row) != len(layout.header):
        return f"malformed row ({len(row)} fields, not {len(layout.header)}): {_REPAIR}"
    values = {role: row[layout.header.index(name)] for role, name in layout.columns.items()}
    rating = as_number(values.get("rating"))
    if rating is not None and rating in layout.not_rated:
        return None
    for role in ID_ROLES:
        if is_missing(values[role]):
            return f"the {role} id is missing: {_REPAIR}"
        if isinstance(values[role], str) and any("\ud800" <= letter <= "\udfff" for letter in values[role]):
            return f"the {role} id is not UTF-8 text: convert the file to UTF-8"
        if isinstance(values[role], (bool, list, dict)):
            return f"the {role} id {shown(values[role])} is neither a number nor text: {_REPAIR}"
        if role in integer_ids and not is_integral(str(values[role])):
            return (
                f"the {role} id '{shown(values[role])}' is not an integer, but other {role} ids are: {_REPAIR}, "
                "or pass --ids text to read all ids as text"
            )
    if "split" in values and parse_split(values["split"]) is None:
        return f"the split '{shown(values['split'])}' is none of {', '.join(SPLIT_NAMES[:3])}: {_REPAIR}"
    return _rating_problem(values.get("rating", 0), scale) or _time_problem(values.get("timestamp", 0))


def _rating_problem(value: object, scale: tuple[float, float] | None) -> str | None:
    if is_missing(value):
        return f"the rating is missing or NaN: {_REPAIR}"
    rating = as_number(value)
    if rating is None:
        return f"the rating '{shown(value)}' is not a number: {_REPAIR}"
    if not math.isfinite(rating):
        return f"the rating '{shown(value)}' is not finite: {_REPAIR}"
    if scale and not scale[0] <= rating <= scale[1]:
        return (
            f"the rating {shown(value)} is off the scale {scale[0]:g} to {scale[1]:g}: correct it, set the scale with "
            f'--rating-scale "MIN MAX", or leave such rows out with --not-rated {shown(value)}'
        )
    return None


def _time_problem(value: object) -> str | None:
    if is_missing(value):
        return f"the timestamp is missing: {_REPAIR}"
    number = as_number(value)
    if number is not None and not math.isfinite(number):
        return f"the timestamp '{shown(value)}' is not finite: {_REPAIR}"
    if number is not None and abs(number) >= 2**63:
        return f"the timestamp '{shown(value)}' is out of range for seconds since 1970: {_REPAIR}"
    if number is None and isinstance(value, str):
        try:
            parse_text(value)
        except ValueError:
            return f"the timestamp '{shown(value)}' is neither seconds since 1970 nor YYYY-MM-DD HH:MM:SS: {_REPAIR}"
    return None
