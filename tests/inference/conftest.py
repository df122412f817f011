"""Runs and exports that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.inference.exports import OPTIONS, content, exported
from tests.inference.made_export import make_dataset, make_export


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    """The dataset of :func:`made`; files of tests about runs have their own."""
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def made(dataset, tmp_path_factory) -> Path:
    """An export with vectors that were made up."""
    return make_export(dataset, tmp_path_factory.mktemp("made") / "export")


@pytest.fixture(scope="session")
def mlp_run(tmp_path_factory) -> Path:
    """A run with an MLP head on 37 users and 29 movies."""
    directory = tmp_path_factory.mktemp("export-resume")
    dataset = write_dataset(directory, 37, 29, shards=7)
    train(make_config(dataset.directory, directory / "run", model={"head": "mlp", "head_dim": 3}), World())
    return directory / "run"


@pytest.fixture(scope="session")
def whole(mlp_run, tmp_path_factory) -> dict[str, bytes]:
    """Files of an uninterrupted export of this run."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    exported(mlp_run, out, **OPTIONS)
    files = content(out)
    assert len(files) == 4 + 3 + 2 + 3  # users, movies, manifest and head, encoder
    return files
