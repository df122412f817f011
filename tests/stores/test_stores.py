"""Every store ranks as the model does, follows deltas, and resumes a load that was interrupted.

The stores are real ones: PostgreSQL runs as a server, the others in this process. The exact scores are computed from
the files of the exports.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnnrec.errors import UserError
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.delta import write_delta
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.stores.commands import QueryOptions, StoreOptions, load_store, query_store
from gnnrec.stores.export_rows import ExportRows
from gnnrec.stores.loading import load, read_state
from gnnrec.stores.open_store import opened_store
from gnnrec.stores.store import NodeRows, StoreLayout
from gnnrec.utils.files import sha256
from tests.stores.generations import check_content

pytestmark = pytest.mark.slow

#: Ids that need care, and genres in other alphabets and with the quotes of query languages.
ODD = {"integer": [-7, 0, 5, 2**53 + 1], "string": ["o'Brien", 'a "b" \\ c', "-7", "\u00e9\u4e2d"]}
ODD_GENRES = [["d'auteur"], ['"New" Wave, 2\\'], [], ["\u559c\u5287", "d'auteur"]]


def test_a_store_ranks_as_the_model_does_and_follows_deltas(address, name, generations, capsys):
    def loaded(path: Path, **options) -> dict:
        return load_store(path, StoreOptions(to=address, name=name, **options))

    result = loaded(generations.exports[0])
    assert result["recall"] == 1.0 and any(letter.isdigit() for letter in result["version"])
    check_content(address, name, generations, 0)
    assert "recall@20 1.0000 for 40 users" in capsys.readouterr().out
    assert loaded(generations.exports[0])["recall"] == 1.0
    assert "already holds" in capsys.readouterr().out
    with pytest.raises(UserError, match="delta1 follows the export .* load the deltas in the order of their exports"):
        loaded(generations.deltas[1])
    with pytest.raises(UserError, match="holds another export .* load the deltas between the two, pass --overwrite"):
        loaded(generations.exports[2])
    for number, delta in enumerate(generations.deltas, 1):
        loaded(delta, data=generations.data.directory)
        check_content(address, name, generations, number)
    loaded(generations.deltas[1])
    assert "already holds" in capsys.readouterr().out
    assert loaded(generations.exports[1], overwrite=True)["recall"] == 1.0
    check_content(address, name, generations, 1)
    query_store(QueryOptions(to=address, name=name, user="9001", top=3, genre="Comedy"))
    assert len(capsys.readouterr().out.splitlines()) == 1 + 1 + 3
    with pytest.raises(UserError, match="--genre comedy: no movie"):
        query_store(QueryOptions(to=address, name=name, user="9001", genre="comedy"))


def interrupt(monkeypatch, store, after: int) -> None:
    """Makes the store stop as if it was killed, after so many writes of rows, and before the state of the last one."""
    writes, upsert, keep = [], store.upsert, store.write_state

    def counted(rows: NodeRows, state: dict) -> None:
        writes.append(rows)
        upsert(rows, state)
        if len(writes) == after:
            raise KeyboardInterrupt

    def kept(state: dict) -> None:
        if len(writes) == after:
            raise KeyboardInterrupt
        keep(state)

    monkeypatch.setattr(store, "upsert", counted)
    monkeypatch.setattr(store, "write_state", kept)


@pytest.mark.parametrize("kind", ["export", "delta"])
def test_an_interrupted_load_is_resumed(address, name, generations, monkeypatch, kind):
    def source() -> ExportRows:
        path = generations.exports[0] if kind == "export" else generations.deltas[0]
        return ExportRows(path, generations.data.directory)

    if kind == "delta":
        load_store(generations.exports[0], StoreOptions(to=address, name=name))
    with pytest.raises(KeyboardInterrupt), opened_store(address, name) as store:
        interrupt(monkeypatch, store, after=3)
        load(store, source(), "here")
    with pytest.raises(UserError, match="half of"):
        query_store(QueryOptions(to=address, name=name, user="9001"))
    with pytest.raises(UserError, match="half of|no complete export"):
        load_store(generations.deltas[1], StoreOptions(to=address, name=name))
    with opened_store(address, name) as store:
        written = []
        upsert = store.upsert
        monkeypatch.setattr(store, "upsert", lambda rows, state: (written.append(rows), upsert(rows, state)))
        assert load(store, source(), "here")
        assert read_state(store, "here")["pending"] is None
    upserts = sum(action == "upsert" for action, _, _ in source().steps())
    assert upserts > 4 and len(written) in (upserts - 3, upserts - 2)  # two are complete, the third one perhaps
    check_content(address, name, generations, 0 if kind == "export" else 1)


@pytest.mark.parametrize("ids", ["integer", "string"])
def test_odd_ids_and_genres_are_kept(address, name, ids):
    rng, odd = np.random.default_rng(0), ODD[ids]
    vectors = rng.integers(-3, 4, (4, 6)).astype(np.float32)
    vectors[:, 5] = [4, 3, 2, 1]
    layout, state = StoreLayout(6, ids, ids), {"format": 1, "layout": {"dim": 6, "users": ids, "movies": ids}}
    zeros = np.zeros(4, np.float32)
    with opened_store(address, name) as store:
        assert read_state(store, "here") is None
        store.create(layout, state)
        store.upsert(NodeRows("users", odd, vectors, zeros + 2, [], []), state)
        store.upsert(NodeRows("movies", odd, vectors, zeros, ["It's", "", 'a "b" \\', "\u559c"], ODD_GENRES), state)
        store.finish(state)
    query = np.array([[0, 0, 0, 0, 0, 1]], np.float32)
    with opened_store(address, name) as store:
        assert [(hit.movie, hit.score, hit.title) for hit in store.search(query, 9)[0]] == [
            (odd[0], 4, "It's"), (odd[1], 3, ""), (odd[2], 2, 'a "b" \\'), (odd[3], 1, "\u559c"),
        ]  # fmt: skip
        for genre, expected in (
            ("d'auteur", [odd[0], odd[3]]),
            ('"New" Wave, 2\\', [odd[1]]),
            ("\u559c\u5287", [odd[3]]),
        ):
            assert [hit.movie for hit in store.search(query, 9, genre)[0]] == expected
        for row, vector in zip(odd, vectors):
            np.testing.assert_array_equal(store.find_user(row)[0], vector)
        store.remove("movies", [odd[0], odd[2]], state)
        store.remove("users", [odd[0]], state)
        assert [hit.movie for hit in store.search(query, 9)[0]] == [odd[1], odd[3]]
        assert store.find_user(odd[0]) is None and store.find_user(odd[1])[1] == 2


def with_cold_movies(export: Path, out: Path, cold: set[int]) -> Path:
    """Copies an export, with the column of movies without training ratings."""
    shutil.copytree(export, out)
    manifest = json.loads((out / "manifest.json").read_text())
    for path in (out / "movies").iterdir():
        table = pq.read_table(path)
        flags = pa.array([movie in cold for movie in table["movie"].to_pylist()])
        pq.write_table(table.append_column("cold", flags), path)
        manifest["files"][f"movies/{path.name}"] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    manifest["cold_movies"] = len(cold)
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


@pytest.mark.parametrize("new_movies", [False, True])
def test_movies_without_training_ratings_are_left_out_unless_asked_for(generations, tmp_path, new_movies):
    """One movie gets its first training ratings with the delta, another loses them."""
    made = [
        with_cold_movies(generations.exports[number], tmp_path / str(number), cold)
        for number, cold in ((0, {2, 7}), (2, {7, 12}))
    ]
    write_delta(*(StoredRows(out, read_manifest(out)) for out in made), tmp_path / "delta", overwrite=False)
    address = f"duckdb:{tmp_path / 'store.duckdb'}"
    for path, missing in ((made[0], {2, 7}), (tmp_path / "delta", {7, 12})):
        result = load_store(path, StoreOptions(to=address, new_movies=new_movies))
        assert result.get("recall", 1.0) == 1.0
        with opened_store(address, "gnnrec") as store:
            hits = store.search(np.zeros((1, 7), np.float32), 100)[0]
        expected = set(generations.data.movies["movie"].tolist()) - (set() if new_movies else missing)
        assert {hit.movie for hit in hits} == expected
