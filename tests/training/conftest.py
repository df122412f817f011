"""A small dataset, and an uninterrupted run on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnnrec.data.prepared import PreparedDataset
from tests.datasets import write_dataset
from tests.training.runs import config_of, run


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("data"), validation=0.15, test=0.15)


@pytest.fixture(scope="session")
def uninterrupted(dataset, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("uninterrupted") / "run"
    run(config_of(dataset, directory))
    return directory
