"""Loads that are interrupted and followed by others, and names under which a store holds something else."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.delta import write_delta
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.stores.commands import QueryOptions, StoreOptions, load_store, query_store
from gnnrec.stores.export_rows import ExportRows
from gnnrec.stores.loading import load
from gnnrec.stores.open_store import opened_store
from gnnrec.stores.store import NodeRows, StoreLayout
from gnnrec.utils.files import sha256
from tests.end_to_end.commands import ROOT
from tests.stores.conftest import EMBEDDED
from tests.stores.generations import check_content

pytestmark = pytest.mark.slow


def interrupted(address: str, name: str, source: ExportRows, monkeypatch, steps: int, overwrite: bool = False) -> None:
    """Loads until so many steps are complete."""
    with pytest.raises(KeyboardInterrupt), opened_store(address, name) as store:
        taken = itertools.count()

        def stopping(method: Callable[..., None], *arguments) -> None:
            if next(taken) == steps:
                raise KeyboardInterrupt
            method(*arguments)

        for method in ("upsert", "remove"):
            monkeypatch.setattr(store, method, partial(stopping, getattr(store, method)))
        load(store, source, "here", overwrite)


@pytest.mark.parametrize("first", ["export", "delta"])
@pytest.mark.parametrize("steps", [1, 7])
def test_a_load_is_not_resumed_with_another_source_of_the_same_generation(
    generations, tmp_path, monkeypatch, first, steps
):
    """An export and a delta lead to the same rows, in other steps."""
    address, data = EMBEDDED["duckdb"](tmp_path), generations.data.directory
    sources = {
        "export": lambda: ExportRows(generations.exports[1]),
        "delta": lambda: ExportRows(generations.deltas[0], data),
    }
    assert len({source().generation for source in sources.values()}) == 1
    load_store(generations.exports[0], StoreOptions(to=address))
    interrupted(address, "gnnrec", sources[first](), monkeypatch, steps, overwrite=first == "export")
    with opened_store(address, "gnnrec") as store, pytest.raises(UserError, match="half of a load|no complete export"):
        load(store, sources["export" if first == "delta" else "delta"](), "here")
    with opened_store(address, "gnnrec") as store:
        assert load(store, sources["export"](), "here", overwrite=True)
    check_content(address, "gnnrec", generations, 1)


#: Loads an export, and is killed after so many writes of rows.
KILLED = """
import os, signal, sys
from pathlib import Path
from gnnrec.stores.export_rows import ExportRows
from gnnrec.stores.loading import load
from gnnrec.stores.open_store import opened_store

address, name, export, writes = sys.argv[1:]
with opened_store(address, name) as store:
    upsert, left = store.upsert, [int(writes)]

    def killing(rows, state):
        upsert(rows, state)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    store.upsert = killing
    load(store, ExportRows(Path(export)), "here")
"""


@pytest.mark.processes
def test_what_a_killed_process_has_written_is_there(address, name, generations, monkeypatch):
    """Nothing is closed or flushed."""
    export = generations.exports[0]
    command = [sys.executable, "-c", KILLED, address, name, str(export), "4"]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert result.returncode == -signal.SIGKILL, result.stderr
    with opened_store(address, name) as store:
        assert store.read_state()["done"] == 4
        written, upsert = [], store.upsert
        monkeypatch.setattr(store, "upsert", lambda rows, state: (written.append(rows), upsert(rows, state)))
        assert load(store, ExportRows(export), "here")
    assert len(written) == len(ExportRows(export).steps()) - 4
    check_content(address, name, generations, 0)


def test_a_killed_overwrite_is_not_taken_for_the_export_before(address, name, generations, monkeypatch):
    """Some stores make one table after the other, and write their state apart."""
    load_store(generations.exports[0], StoreOptions(to=address, name=name))
    with pytest.raises(KeyboardInterrupt), opened_store(address, name) as store:
        create = store.create

        def stopping(layout: StoreLayout, state: dict) -> None:
            def stop(state: dict) -> None:
                raise KeyboardInterrupt

            monkeypatch.setattr(store, "write_state", stop)
            create(layout, state)
            raise KeyboardInterrupt

        monkeypatch.setattr(store, "create", stopping)
        load(store, ExportRows(generations.exports[1]), "here", overwrite=True)
    with pytest.raises(UserError, match="half of a load"):
        query_store(QueryOptions(to=address, name=name, user="9001"))
    assert load_store(generations.exports[1], StoreOptions(to=address, name=name))["recall"] == 1.0
    check_content(address, name, generations, 1)


def test_new_movies_cannot_be_switched_during_or_after_a_load(generations, tmp_path, monkeypatch):
    address, export = EMBEDDED["duckdb"](tmp_path), generations.exports[0]
    interrupted(address, "gnnrec", ExportRows(export), monkeypatch, 3)
    with pytest.raises(UserError, match="loaded without --new-movies: call it as before, or pass --overwrite"):
        load_store(export, StoreOptions(to=address, new_movies=True))
    load_store(export, StoreOptions(to=address))
    with pytest.raises(UserError, match="loaded without --new-movies"):
        load_store(export, StoreOptions(to=address, new_movies=True))
    load_store(export, StoreOptions(to=address, new_movies=True, overwrite=True))
    with pytest.raises(UserError, match="loaded with --new-movies"):
        load_store(export, StoreOptions(to=address))
    check_content(address, "gnnrec", generations, 0)


def with_new_movies(export: Path, out: Path, dataset: PreparedDataset) -> Path:
    """Copies an export as one whose dataset lacks its last movies."""
    shutil.copytree(export, out)
    manifest = json.loads((out / "manifest.json").read_text())
    ids = pq.read_table(out / "movies")["movie"].to_pandas()
    new = ids[~ids.isin(dataset.movies["movie"])]
    table = pa.table({"row": new.index, "movie": new, "title": [f"New {movie}" for movie in new]})
    pq.write_table(table.append_column("genres", pa.array(["War"] * len(new))), out / "new_movies.parquet")
    entry = {"bytes": (out / "new_movies.parquet").stat().st_size, "sha256": sha256(out / "new_movies.parquet")}
    manifest["files"] |= {"new_movies.parquet": entry}
    manifest |= {"new_movies": len(new), "data": str(dataset.directory), "dataset_fingerprint": dataset.fingerprint}
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


@pytest.mark.parametrize("grown", [False, True], ids=["the dataset", "a dataset that has grown"])
def test_a_delta_keeps_titles_and_genres_of_movies_that_are_not_in_the_dataset(generations, tmp_path, grown):
    exports = [
        with_new_movies(generations.exports[number], tmp_path / str(number), generations.few) for number in (0, 2)
    ]
    delta = tmp_path / "delta"
    write_delta(*(StoredRows(out, read_manifest(out)) for out in exports), delta, overwrite=False)
    address, changed = EMBEDDED["duckdb"](tmp_path), set(pq.read_table(delta / "movies")["movie"].to_pylist())
    load_store(exports[0], StoreOptions(to=address))
    load_store(delta, StoreOptions(to=address, data=generations.data.directory if grown else None))
    known, every = (set(data.movies["movie"]) for data in (generations.few, generations.data))
    with opened_store(address, "gnnrec") as store:
        (hits,) = store.search(np.ones((1, 7), np.float32), 100)
        (war,) = store.search(np.ones((1, 7), np.float32), 100, "War")
    assert {hit.movie for hit in hits} == every and changed - known
    renamed = changed - known if grown else set()
    for hit in hits:
        assert hit.title.startswith("New " if hit.movie in every - known - renamed else "Film ")
    assert {hit.movie for hit in war} == every - known - renamed


def test_tables_of_others_are_left_alone(address, name, generations, monkeypatch):
    """Tables of users or movies without a state are not those of gnnrec."""
    vectors = ExportRows(generations.exports[0]).sample_users(2)
    layout = {"dim": vectors.shape[1], "users": "integer", "movies": "integer"}
    with opened_store(address, name) as store:
        assert not store.occupied()
        store.create(StoreLayout(**layout), {})
        store.upsert(NodeRows("users", [5, 6], vectors, vectors[:, 0], [], []), {})
        assert store.occupied()
        monkeypatch.setattr(store, "read_state", lambda: None)
        with pytest.raises(UserError, match="has tables of these names that gnnrec did not write: choose another"):
            load(store, ExportRows(generations.exports[0]), "here")
        assert store.find_user(5) is not None and store.find_user(6) is not None
        assert load(store, ExportRows(generations.exports[0]), "here", overwrite=True)
    check_content(address, name, generations, 0)


def test_a_state_of_others_is_left_alone(generations, tmp_path):
    address = EMBEDDED["duckdb"](tmp_path)
    with duckdb.connect(address.removeprefix("duckdb:")) as connection:
        connection.execute("CREATE TABLE app_state (state VARCHAR)")
        connection.execute("INSERT INTO app_state VALUES ('open')")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="has a state that gnnrec did not write: choose another --name"):
            load_store(generations.exports[0], StoreOptions(to=address, name="app", overwrite=overwrite))
