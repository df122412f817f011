"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from gnnrec.utils.log import log_to_console

# Tests are many small computations, some of them on several ranks at once: more threads only get into each other's way.
torch.set_num_threads(1)
# As programs do: tests read what a command prints.
log_to_console()

_BESIDE_THE_REPOSITORY = Path(__file__).parents[2] / "shared" / "data" / "ml-latest-small"


@pytest.fixture(scope="session")
def ml_latest_small() -> Path:
    """The directory of the real ml-latest-small: ``$GNNREC_ML_LATEST_SMALL``, or shared data beside the repository."""
    path = Path(os.environ.get("GNNREC_ML_LATEST_SMALL", _BESIDE_THE_REPOSITORY))
    if not (path / "ratings.csv").is_file():
        pytest.skip("ml-latest-small is not here: set GNNREC_ML_LATEST_SMALL to its directory")
    return path
