"""A real PostgreSQL, and addresses of empty stores of every kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stores.generations import Generations
from tests.stores.servers import postgresql

#: Kind of store -> the address of an empty one in a directory.
EMBEDDED: dict[str, Callable[[Path], str]] = {
    "duckdb": lambda place: f"duckdb:{place / 'store.duckdb'}",
    "faiss": lambda place: f"faiss:{place / 'faiss'}",
    "lancedb": lambda place: f"lancedb:{place / 'lance'}",
    "milvus": lambda place: f"milvus:{place / 'milvus.db'}",
    "qdrant edge": lambda place: f"qdrant:{place / 'qdrant'}",
    "qdrant client": lambda place: f"qdrant+local:{place / 'qdrant'}",
}
KINDS = ["pgvector", *EMBEDDED]
_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a PostgreSQL with pgvector."""
    with postgresql() as address:
        yield address


@pytest.fixture(scope="session")
def generations(tmp_path_factory) -> Generations:
    """Three exports and the deltas between them."""
    return Generations(tmp_path_factory.mktemp("generations"))


@pytest.fixture(params=KINDS)
def address(request, tmp_path) -> str:
    """The address of a store."""
    if request.param == "pgvector":
        return request.getfixturevalue("server")
    return EMBEDDED[request.param](tmp_path)


@pytest.fixture
def name() -> str:
    """A name that no other test has used in the same store."""
    return f"test{next(_NUMBERS)}"
