"""Exports and services that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnnrec.data.prepared import PreparedDataset
from gnnrec.serving.app import ServingApp, create_app
from tests.inference.made_export import make_dataset
from tests.serving.float_export import make_float_export


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> PreparedDataset:
    return make_dataset(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def export(dataset, tmp_path_factory) -> Path:
    """An export with interest."""
    return make_float_export(dataset, tmp_path_factory.mktemp("served") / "export", interest=3)


@pytest.fixture(scope="session")
def app(export) -> ServingApp:
    return create_app(export)
