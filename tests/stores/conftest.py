"""A real PostgreSQL, and addresses of empty stores of every kind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.inference.made_export import make_dataset, make_export
from tests.stores.servers import postgresql

#: Kind of store -> the address of an empty one in a directory.
EMBEDDED: dict[str, Callable[[Path], str]] = {}
KINDS = ["pgvector", *EMBEDDED]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a PostgreSQL with pgvector."""
    with postgresql() as address:
        yield address


@pytest.fixture(params=KINDS)
def address(request, tmp_path) -> str:
    """The address of a store without anything under the names of a test."""
    if request.param == "pgvector":
        return request.getfixturevalue("server")
    return EMBEDDED[request.param](tmp_path)
