"""Reasons of recommendations, in the form of answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnnrec.serving.errors import RequestError
from gnnrec.serving.requests import ListRequest
from gnnrec.serving.snapshot import Snapshot
from gnnrec.serving.targets import Target


def reasons_of(snapshot: Snapshot, request: ListRequest, target: Target, rows: np.ndarray) -> list[dict[str, Any]]:
    """Returns the reasons of movies.

    Args:
        snapshot: The vectors.
        request: The list; ``why`` is the number of ratings to name.
        target: The user.
        rows: Rows of the movies.

    Raises:
        RequestError: The export cannot explain its scores.
    """
    raise RequestError(400, "why: this export has no reasons, leave it out")
