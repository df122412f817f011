"""Imports the commands of vector stores when they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def load_command() -> tuple[type, Callable[..., Any]]:
    """Returns the options and the function of ``gnnrec store``."""
    from gnnrec.stores.commands import StoreOptions, load_store

    return StoreOptions, load_store


def query_command() -> tuple[type, Callable[..., Any]]:
    """Returns the options and the function of ``gnnrec store --query``."""
    from gnnrec.stores.commands import QueryOptions, query_store

    return QueryOptions, query_store
