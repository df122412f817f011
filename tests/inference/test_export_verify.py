"""``gnnrec export --verify`` prints one line, or raises one that names the damaged file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnnrec.cli.main import run_command
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import ratings_table, write_dataset
from tests.inference.exports import exported

USERS, MOVIES, DIM = 37, 29, 8
PART = "users/part-0000000010.parquet"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("verify")
    dataset = write_dataset(directory, USERS, MOVIES, shards=7)
    train(make_config(dataset.directory, directory / "run", max_steps=2), World())
    return directory / "run"


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    exported(run, out, formats=["npy,faiss"], part_rows=10)
    return out


@pytest.fixture
def out(whole, tmp_path) -> Path:
    """A copy of the export to damage."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


def verify(*arguments: object) -> None:
    run_command(["export", *(str(word) for word in arguments)])


@pytest.mark.parametrize("form", ["--verify DIR", "DIR --verify", "--verify=DIR"])
def test_an_undamaged_export_prints_one_line(whole, capsys, form):
    verify(*form.replace("DIR", str(whole)).split())
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{whole}: OK, {USERS} users and {MOVIES} movies, {DIM} x float32, 17 files of ")
    assert line.endswith("ids complete")


@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"formats": ["npy"], "part_rows": 7}, {}], ids=str)
def test_every_format_is_verified(run, tmp_path, capsys, options):
    exported(run, tmp_path / "out", **options)
    capsys.readouterr()
    verify("--verify", tmp_path / "out")
    assert "OK" in capsys.readouterr().out


def test_an_mlp_head_and_new_users_are_verified(run, tmp_path, capsys):
    ratings_table(USERS, MOVIES, 100, seed=2).to_csv(tmp_path / "new.csv", index=False)
    config = make_config(run.parent / "prepared", tmp_path / "run", model={"head": "mlp", "head_dim": 3}, max_steps=1)
    train(config, World())
    exported(tmp_path / "run", tmp_path / "out", ratings=tmp_path / "new.csv")
    capsys.readouterr()
    verify("--verify", tmp_path / "out")
    assert "ids complete" in capsys.readouterr().out


def test_without_the_dataset_ids_are_unique(out, capsys, tmp_path):
    forge(out, None, None, data=str(tmp_path / "gone"))
    verify("--verify", out)
    assert "ids unique (no dataset to compare with)" in capsys.readouterr().out


def forge(out: Path, name: str | None, table: pa.Table | None, **manifest: object) -> None:
    """Changes a file or entries of the manifest, and updates the checksums."""
    path = out / "manifest.json"
    content = json.loads(path.read_text()) | manifest
    if name is not None:
        if table is not None:
            pq.write_table(table, out / name)
        data = (out / name).read_bytes()
        content["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(content))


def changed(out: Path, **columns: Callable[[np.ndarray], np.ndarray]) -> pa.Table:
    """Returns the part with changed columns."""
    table = pq.read_table(out / PART)
    for name, change in columns.items():
        column, number = table[name].combine_chunks(), table.column_names.index(name)
        if name == "embedding":
            values = change(column.flatten().to_numpy().copy())
            column = pa.FixedSizeListArray.from_arrays(pa.array(values, column.type.value_type), DIM)
        else:
            column = pa.array(change(column.to_numpy().copy()), column.type)
        table = table.set_column(number, name, column)
    return table


def put(place: int | slice, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return change


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def first_array(out: Path, name: str) -> None:
    array = np.load(out / name)
    array.reshape(-1)[3] += 1
    np.save(out / name, array)
    forge(out, name, None)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (lambda out: (out / PART).write_bytes((out / PART).read_bytes()[:-3]), f"{PART} has .* bytes, not"),
    "a bit": (lambda out: flip(out / PART), f"{PART} does not match its checksum"),
    "a bit of the index": (lambda out: flip(out / "movies.faiss"), "movies.faiss does not match its checksum"),
    "gone": (lambda out: (out / PART).unlink(), f"{PART} is missing"),
    "one too many": (
        lambda out: shutil.copy(out / PART, out / "users" / "part-9.parquet"),
        "users/part-9.parquet does not belong to the export",
    ),
    "no manifest": (lambda out: (out / "manifest.json").unlink(), "manifest.json"),
    "half a manifest": (
        lambda out: (out / "manifest.json").write_text((out / "manifest.json").read_text()[:200]),
        "manifest.json",
    ),
    "a manifest of something else": (lambda out: forge(out, None, None, format="x"), "manifest.json"),
    "no checksum": (
        lambda out: forge(out, None, None, files={PART: {"bytes": (out / PART).stat().st_size}}),
        "manifest.json is damaged",
    ),
    "no counts": (lambda out: forge(out, None, None, users=None), "manifest.json is damaged"),
    "another count": (lambda out: forge(out, None, None, users=USERS + 10), f"do not hold {USERS + 10} users"),
    "a few more": (lambda out: forge(out, None, None, users=USERS + 1), "0000000030.parquet has 7 rows, not 8"),
    "another width": (lambda out: forge(out, None, None, dim=9), "0.parquet: embeddings are .*not 9 x"),
    "another type": (lambda out: forge(out, None, None, dtype="float16"), "0.parquet: embeddings are .*float"),
    "a row less": (lambda out: forge(out, PART, pq.read_table(out / PART).slice(1)), f"{PART} has 9 rows, not 10"),
    "NaN": (
        lambda out: forge(out, PART, changed(out, embedding=put(7, np.nan))),
        f"{PART}: embedding has NaN",
    ),
    "infinity": (
        lambda out: forge(out, PART, changed(out, bias=put(2, np.inf))),
        f"{PART}: bias has NaN",
    ),
    "another id": (
        lambda out: forge(out, PART, changed(out, user=put(0, -3))),
        f"{PART}: ids differ from the dataset from row 10",
    ),
    "two ids changed round": (
        lambda out: forge(out, PART, changed(out, user=lambda ids: ids[::-1])),
        f"{PART}: ids differ from the dataset from row 10",
    ),
    "no bias": (
        lambda out: forge(out, PART, pq.read_table(out / PART).drop(["bias"])),
        f"{PART} has columns user, emb",
    ),
    "another array": (lambda out: first_array(out, "users.npy"), "users.npy differs from the files in .*/users"),
    "another bias": (lambda out: first_array(out, "movie_bias.npy"), "movie_bias.npy differs from"),
    "an array of nothing": (
        lambda out: ((out / "users.npy").write_bytes(b"x"), forge(out, "users.npy", None)),
        "users.npy cannot be read",
    ),
    "other ids": (
        lambda out: forge(out, "user_ids.parquet", pq.read_table(out / "user_ids.parquet").slice(1)),
        "user_ids.parquet differs from",
    ),
    "an index of nothing": (
        lambda out: ((out / "movies.faiss").write_bytes(b"x"), forge(out, "movies.faiss", None)),
        "movies.faiss cannot be read",
    ),
    "unfinished": (
        lambda out: ((out / "manifest.json").unlink(), (out / ".unfinished").mkdir()),
        "out is unfinished: run the same gnnrec export again",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(out, damage):
    hurt, said = DAMAGES[damage]
    hurt(out)
    with pytest.raises(UserError, match=said) as problem:
        verify("--verify", out)
    assert str(problem.value).startswith(str(out)) and "\n" not in str(problem.value)


def test_a_duplicated_id_is_found_without_the_dataset(out, tmp_path):
    first = pq.read_table(out / "users" / "part-0000000000.parquet")["user"][0].as_py()
    forge(out, PART, changed(out, user=put(4, first)), data=str(tmp_path / "gone"))
    with pytest.raises(UserError, match=f"out/users: user {first} is duplicated"):
        verify("--verify", out)


def test_another_dataset_is_refused(out, tmp_path):
    other = write_dataset(tmp_path / "other", 20, 20, 200)
    with pytest.raises(UserError, match="other.* is not the dataset of .*out: pass the right one with --data"):
        verify("--verify", out, "--data", other.directory)


@pytest.mark.parametrize("place", ["nothing", "run", "dataset"])
def test_other_directories_are_refused(run, tmp_path, place):
    if place == "dataset":
        write_dataset(tmp_path / "dataset", 20, 20, 200)
    with pytest.raises(UserError, match=f"{place}.*manifest.json.*: pass the directory that gnnrec export has written"):
        verify("--verify", run if place == "run" else tmp_path / place)
