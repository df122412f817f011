"""Errors are recognized by themselves and by those that they were raised from."""

from __future__ import annotations

from gnnrec.utils.resource_errors import is_out_of_memory


def test_memory_is_found_behind_another_error():
    error = ValueError("no server")
    error.__cause__ = MemoryError()
    assert is_out_of_memory(error)


def test_an_error_that_was_raised_from_itself_is_read_once():
    error = ValueError("no server")
    error.__cause__ = error
    assert not is_out_of_memory(error)
