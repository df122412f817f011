"""Mistakes with stores are one line that says what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnnrec.errors import UserError
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.delta import write_delta
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.stores.commands import QueryOptions, StoreOptions, load_store, query_store
from gnnrec.utils.files import sha256
from tests.inference.made_export import make_dataset, make_export

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """``export``, ``interest`` and ``letters``: other columns, and other ids; deltas from these to the next seed."""
    place = tmp_path_factory.mktemp("bad")
    numbers, letters = make_dataset(place / "data"), make_dataset(place / "letter data", ids="strings")
    for name, data, words in (
        ("export", numbers, {}),
        ("interest", numbers, {"interest": 2}),
        ("letters", letters, {}),
    ):
        both = [make_export(data, place / f"{name}{seed}", seed=seed, **words) for seed in (0, 1)]
        write_delta(*(StoredRows(out, read_manifest(out)) for out in both), place / f"delta of {name}", overwrite=False)
    make_export(numbers, place / "mlp", head="mlp")
    return place


@pytest.fixture(scope="module")
def store(place) -> str:
    """A store that holds ``export0``."""
    address = f"duckdb:{place / 'store.duckdb'}"
    load_store(place / "export0", StoreOptions(to=address))
    return address


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "postgresql://postgres:secret@127.0.0.1:1/none",
            r"postgres:\*\*\*@127.0.0.1:1/none cannot be opened \(.*refused",
        ),
        ("postgresql://postgres@127.0.0.1:1/none?password=secret", r"1/none\?password=\*\*\* cannot be opened \("),
        ("postgresql://postgres:pre/secret@127.0.0.1:1/none", r"postgres:\*\*\*@127.0.0.1:1/none cannot be opened \("),
        ("postgresql://postgres:x@secret@127.0.0.1:1/none", r"postgres:\*\*\*@127.0.0.1:1/none cannot be opened \("),
        ("qdrant+http://127.0.0.1:1", r"127.0.0.1:1 (cannot be opened|refuses)"),
        ("milvus+http://127.0.0.1:1", r"127.0.0.1:1 cannot be opened"),
        ("milvus:store", "a file of Milvus Lite ends with .db"),
        ("redis://127.0.0.1", "is no address of a store: use one of postgresql://USER@HOST/DATABASE"),
        ("faiss:", "lacks the place"),
        ("duckdb:{place}/data", r"cannot be opened \("),
        ("lancedb:{place}/store.duckdb", r"store.duckdb (cannot be opened|refuses) \("),
        ("qdrant:{place}/store.duckdb/x", r"cannot be opened \("),
        ("faiss:{place}/store.duckdb", r"cannot be opened \("),
    ],
)
def test_a_store_that_is_not_there(place, store, address, message):
    with pytest.raises(UserError, match=message) as error:
        load_store(place / "export0", StoreOptions(to=address.format(place=place)))
    assert "\n" not in str(error.value) and "secret" not in str(error.value)


def test_a_database_without_pgvector_and_without_the_right_to_install_it(server, place):
    """The password stays secret, and no connection stays open."""
    with psycopg.connect(server, autocommit=True) as connection:
        for statement in ("CREATE ROLE reader LOGIN PASSWORD 'secret'", "CREATE DATABASE empty"):
            connection.execute(statement)
        parts = psycopg.conninfo.conninfo_to_dict(server)
        address = f"postgresql://reader:secret@/empty?host={parts['host']}"
        with pytest.raises(UserError, match=r"reader:\*\*\*@/empty.*permission denied.*EXTENSION vector$") as error:
            load_store(place / "export0", StoreOptions(to=address))
        assert "secret" not in str(error.value)
        connection.execute("DROP DATABASE empty")  # refused while a connection is open
        connection.execute("DROP ROLE reader")


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("export1", {}, "holds another export .* pass --overwrite"),
        ("interest0", {}, "holds another export"),
        ("delta of interest", {}, "has vectors of 7 columns, .* of 5: it belongs to another model"),
        ("delta of letters", {}, "has string ids of users, .* integer ones: it belongs to other data"),
        ("delta of export", {"name": "other"}, "holds no complete export that .* load the export first"),
        ("mlp", {}, "MLP head, whose scores are no inner products"),
        ("data", {}, "is not a complete export or delta"),
        ("export1", {"name": "Mine; DROP"}, "--name Mine; DROP: use up to 40 lower-case letters"),
        ("export0", {"data": "nowhere", "name": "other"}, "does not exist: pass the dataset .* with --data"),
        (
            "export0",
            {"data": "letter data/prepared", "name": "other"},
            "is not the dataset of .*export0: pass the right",
        ),
    ],
)
def test_what_a_store_cannot_take(place, store, path, options, message):
    if "data" in options:
        options = options | {"data": place / options["data"]}
    with pytest.raises(UserError, match=message):
        load_store(place / path, StoreOptions(to=store, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "nobody"}, "users with whole numbers as ids"),
        ({"user": "12345"}, "no user in .* has this id"),
        ({"user": "100000000000000000000"}, "no user in .* has this id"),
        ({"user": "-9223372036854775809"}, "no user in .* has this id"),
        ({"user": "9001", "genre": "comedy"}, "--genre comedy: no movie"),
        ({"user": "9001", "name": "other"}, "holds no export: load one"),
        ({"user": "9001", "top": 0}, "--top"),
    ],
)
def test_what_a_store_cannot_answer(store, options, message):
    with pytest.raises(UserError, match=message):
        query_store(QueryOptions(to=store, **options))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (
            "users/part-0000000000.parquet",
            lambda path: path.write_bytes(b"PAR1"),
            "0.parquet does not match its checksum: export again",
        ),
        ("movies/part-0000000007.parquet", lambda path: path.unlink(), "7.parquet is missing: export again"),
        ("movies/part-0000000007.parquet", lambda path: flip(path), "7.parquet does not match its checksum: export"),
        ("movies/part-0000000014.parquet", lambda path: write_nan(path), "14.parquet has NaN or infinite values"),
        ("users/part-0000000035.parquet", lambda path: write_nan(path), "35.parquet has NaN or infinite values"),
    ],
)
def test_damaged_files_are_not_blamed_on_the_store(place, tmp_path, name, damage, message):
    out = tmp_path / "export"
    shutil.copytree(place / "export0", out)
    damage(out / name)
    with pytest.raises(UserError, match=message) as error:
        load_store(out, StoreOptions(to=f"lancedb:{tmp_path / 'store'}"))
    assert "check the address" not in str(error.value)
    assert "NaN" in message or not (tmp_path / "store").exists()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 64
    path.write_bytes(content)


def test_questions_and_refused_deltas_make_no_store(place, tmp_path):
    for address in ("duckdb:{}/a.duckdb", "milvus:{}/a.db", "lancedb:{}/a", "qdrant:{}/b", "faiss:{}/c"):
        to = address.format(tmp_path)
        with pytest.raises(UserError, match="does not exist: load an export into it with gnnrec store first"):
            query_store(QueryOptions(to=to, user="9001"))
        with pytest.raises(UserError, match="does not exist: load an export into it with gnnrec store first"):
            load_store(place / "delta of export", StoreOptions(to=to))
        assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("damaged", ["movies/part-0000000000.parquet", "new_movies.parquet"])
def test_damaged_files_of_a_delta_are_not_blamed_on_the_store(place, store, tmp_path, damaged):
    out = tmp_path / "delta"
    shutil.copytree(place / "delta of export", out)
    (out / damaged).write_bytes(b"PAR1")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"].setdefault(damaged, {"sha256": "0"})
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        UserError, match=f"{damaged} (cannot be read|does not match its checksum).*: export again"
    ) as error:
        load_store(out, StoreOptions(to=store))
    assert "check the address" not in str(error.value)


def write_nan(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.set_column(2, "bias", pa.array([float("nan")] * len(table), pa.float32())), path)
    manifest = path.parents[1] / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"][f"{path.parent.name}/{path.name}"]["sha256"] = sha256(path)
    manifest.write_text(json.dumps(content))


def test_movies_of_a_delta_that_the_dataset_lacks_are_counted(place, tmp_path, capsys):
    few, address = make_dataset(tmp_path / "few", movies=20), f"duckdb:{tmp_path / 'store.duckdb'}"
    load_store(place / "export0", StoreOptions(to=address))
    assert "no title" not in capsys.readouterr().out
    load_store(place / "delta of export", StoreOptions(to=address, data=few.directory))
    changed = pq.read_table(place / "delta of export" / "movies")["movie"].to_pylist()
    lacking = len(set(changed) - set(few.movies["movie"]))
    assert lacking > 5 and f"{lacking} movies have no title because {few.directory} lacks" in capsys.readouterr().out


def test_a_store_of_another_version_is_replaced_on_request(place, tmp_path):
    folder = tmp_path / "faiss"
    load_store(place / "export0", StoreOptions(to=f"faiss:{folder}"))
    state = json.loads((folder / "gnnrec_state.json").read_text())
    (folder / "gnnrec_state.json").write_text(json.dumps(state | {"format": 99}))
    with pytest.raises(UserError, match="has format 99, this program reads 2"):
        load_store(place / "export0", StoreOptions(to=f"faiss:{folder}"))
    assert load_store(place / "export0", StoreOptions(to=f"faiss:{folder}", overwrite=True))["recall"] == 1.0
