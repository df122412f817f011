"""Addresses that fsspec opens: ``https://``, ``s3://``, ``gs://`` and others."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.utils.resource_errors import reraise_out_of_memory

#: A path keeps one slash of the two.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")


def address_of(path: Path) -> str | None:
    """Returns the address that a path stands for, such as ``s3://bucket/ratings.csv``, or None for one here."""
    match = _ADDRESS.fullmatch(str(path))
    return None if match is None else f"{match[1]}://{match[2]}"


@contextlib.contextmanager
def opened(address: str, action: str) -> Iterator[tuple[Any, str]]:
    """Opens the file system of an address, and converts its errors inside the block.

    Args:
        address: The address.
        action: What the block does with it, in a message: ``read`` or ``written``.

    Yields:
        The file system, and the path in it.

    Raises:
        UserError: No package for this kind of address, no such file, or no connection.
    """
    try:
        import fsspec

        yield fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise UserError(f"{address} needs a package that is not installed ({error}): install it") from None
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{address} does not exist: check the address") from None
    except Exception as error:  # each file system has errors of its own
        reraise_out_of_memory(error)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{address} cannot be {action} ({reason[:120]}): check the address and your credentials"
        ) from None


def cache_directory() -> Path:
    """Returns ``$XDG_CACHE_HOME/gnnrec``, or ``~/.cache/gnnrec``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gnnrec"
