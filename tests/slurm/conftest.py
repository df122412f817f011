"""A SLURM cluster of two nodes, and a directory with a small dataset from which jobs are submitted to it."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.end_to_end.commands import GNNREC, succeed
from tests.slurm import cluster as slurm
from tests.slurm.jobs import make_repository

HERE = Path(__file__).parent
#: Sixty quick steps per epoch, enough to interrupt a run several times.
CONFIG = {
    "model": {"dim": 8},
    "loader": {"folds": 10, "seed_users": 50},
    "optimizer": {"epochs": 8, "warmup_steps": 2},
    "validate_every": 4,
    "baselines": False,
    "log_every": 5,
}

collect_ignore_glob = ["test_*.py"] if os.environ.get("GNNREC_SKIP_SLURM") == "1" else []


@pytest.hookimpl(tryfirst=True)  # before the hook of tests/conftest.py, which puts other tests into groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs all tests of this folder in one process of pytest-xdist, so that there is one cluster."""
    for item in items:
        if HERE in item.path.parents:
            for marker in (pytest.mark.xdist_group("slurm"), pytest.mark.slurm, pytest.mark.slow):
                item.add_marker(marker)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    slurm.install()
    with slurm.start(tmp_path_factory.mktemp("slurm"), cpus=1) as running:
        yield running


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory to submit jobs from: ``ratings.csv``, ``data/mine``, ``small.yaml`` and the repository itself.

    ``days/1.csv`` and ``days/2.csv`` have later ratings.
    """
    place = make_repository(tmp_path_factory.mktemp("repository") / "gnnrec")
    succeed([*GNNREC, "synth", place / "synth", "--users", 300, "--movies", 100, "--ratings", 12000, "--seed", 3])
    (place / "ratings.csv").symlink_to(place / "synth" / "ratings.csv")
    ratings = pd.read_csv(place / "ratings.csv")
    (place / "days").mkdir()
    for day in (1, 2):
        later = pd.DataFrame({"userId": 900 + day, "movieId": ratings["movieId"].unique()[:20], "rating": 3.5})
        later["timestamp"] = ratings["timestamp"].max() + 86400 * day
        later.to_csv(place / "days" / f"{day}.csv", index=False)
    succeed([*GNNREC, "prepare", place / "data" / "mine", "--ratings", place / "ratings.csv", "--shards", 8])
    (place / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    return place
