"""Files of all kinds give the same bytes on the workers of a Dask cluster as in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gnnrec.data.out_of_core import prepare as out_of_core
from gnnrec.data.out_of_core.size import Plan
from tests.data import feature_tables
from tests.data.file_cases import CASES
from tests.data.file_tables import assert_same_bytes

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.xdist_group("dask file cases")]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a cluster with one worker."""
    from distributed import LocalCluster

    with LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize("name", CASES)
def test_files_are_read_by_dask(name, tmp_path, prepared, monkeypatch, scheduler):
    monkeypatch.setattr(out_of_core, "plan", lambda layouts, options: Plan(450, 0))
    (tmp_path / "in").mkdir()
    case = CASES[name](tmp_path / "in")
    options = {"shards": 4, **case.options}
    prepared(case.path, tmp_path / "memory", engine="memory", **options)
    prepared(case.path, tmp_path / "dask", engine="dask", scheduler=scheduler, **options)
    assert_same_bytes(tmp_path / "memory", tmp_path / "dask")


def test_features_are_written_by_dask(tmp_path, prepared, scheduler):
    options = feature_tables.write(tmp_path)
    ratings = options.pop("ratings")
    prepared(ratings, tmp_path / "memory", engine="memory", **options)
    prepared(ratings, tmp_path / "dask", engine="dask", scheduler=scheduler, **options)
    assert_same_bytes(tmp_path / "memory", tmp_path / "dask")
    assert (tmp_path / "dask" / "user_features.npy").exists()
