"""Names in ``import gnnrec``: error messages name Python arguments, and functions keep their names."""

from __future__ import annotations

import importlib

import pytest

import gnnrec
from gnnrec.api.python_names import python_text


def test_functions_are_not_replaced_by_modules_of_their_names():
    with pytest.raises(ImportError, match="is a program"):
        importlib.import_module("gnnrec.export")
    assert callable(gnnrec.export) and callable(gnnrec.report)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--min-year 2000 is after --max-year 1990", "min_year=2000 is after max_year=1990"),
        ("x exists already: pass --overwrite", "x exists already: pass overwrite=True"),
        ("--resume and --overwrite exclude each other", "resume=True and overwrite=True exclude each other"),
        ("finish the run again with --resume auto", 'finish the run again with resume="auto"'),
        ("pass --ratings FILE or --dataset NAME", "pass ratings=FILE or dataset=NAME"),
        ("--similar-to Heat: no movie", "movie=Heat: no movie"),
        ("or pass --ids text to read", 'or pass ids="text" to read'),
        ("or pass --implicit if each row", "or pass implicit=True if each row"),
        ("as in --columns user,movie,rating,timestamp", 'as in columns="user,movie,rating,timestamp"'),
        ("left out by --not-rated 99", "left out by not_rated=99"),
        ("a - b -- c", "a - b -- c"),
    ],
)
def test_messages_name_python_arguments(text, expected):
    assert python_text(text, {"similar_to": "movie"}) == expected
