"""Prepared data that were changed after they were written: one line that names the file, before a kernel reads them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gnnrec.cli.main import run_command
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.verify import VerifyDataOptions, verify_data
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.rank_graph import build_rank_graph
from tests.datasets import write_dataset


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("written"), validation=0.15, test=0.15, shards=4)


@pytest.fixture
def place(written, tmp_path) -> Path:
    return Path(shutil.copytree(written.directory, tmp_path / "data"))


def change(place: Path, name: str, position: int, value: float) -> None:
    array = np.load(place / f"{name}.npy", mmap_mode="r+")
    array[position] = value
    array.flush()


def fingerprinted(place: Path, **values: object) -> None:
    """Edits the manifest, as a program would that also writes a fingerprint."""
    path = place / "manifest.json"
    content = json.loads(path.read_text()) | values
    content.pop("fingerprint", None)
    path.write_text(json.dumps(content))


def without_checksums(place: Path) -> None:
    content = json.loads((place / "manifest.json").read_text())
    fingerprinted(
        place,
        files={name: {"bytes": entry["bytes"], "sha256": entry["sha256"]} for name, entry in content["files"].items()},
    )


def message(function, *arguments) -> str:
    with pytest.raises(UserError) as problem:
        function(*arguments)
    assert "\n" not in str(problem.value)
    return str(problem.value)


def opened(place: Path) -> None:
    build_rank_graph(PreparedDataset(place), World())


VALUES = [
    ("movie", 5, 29, "not all in 0 to 28"),
    ("movie", -1, -1, "not all in 0 to 28"),
    ("split", 7, 9, "not all in 0 to 5"),
    ("rating", 11, np.nan, "not all on the scale 0.5 to 5"),
    ("rating", 11, 5.5, "not all on the scale"),
    ("rating", 0, -np.inf, "not all on the scale"),
    ("user_ptr", 3, 400, "do not rise"),
    ("user_ptr", 20, -5, "do not rise"),
    ("user_ptr", 37, 1 << 40, "do not rise"),
]


@pytest.mark.parametrize(("name", "position", "value", "says"), VALUES)
@pytest.mark.parametrize("checksums", [True, False])
def test_values_out_of_bounds_are_found_before_they_are_used(place, name, position, value, says, checksums):
    change(place, name, position, value)
    if not checksums:
        without_checksums(place)
    text = message(opened, place)
    assert f"{name}.npy is damaged" in text and says in text and text.endswith("run gnnrec prepare again")


@pytest.mark.parametrize("name", ["movie", "rating", "split", "timestamp", "user_ptr"])
def test_any_flipped_bit_is_found_where_its_shard_is_read(place, written, name):
    rng = np.random.default_rng(0)
    sound = np.array(np.load(place / f"{name}.npy"))
    for _ in range(5):
        content = sound.copy()
        raw = content.view(np.uint8).reshape(-1)
        raw[rng.integers(len(raw))] ^= np.uint8(1 << rng.integers(8))
        np.save(place / f"{name}.npy", content)
        assert f"{name}.npy is damaged" in message(PreparedDataset(place).check)


def test_only_shards_that_are_read_are_checked(place, written):
    shards = written.manifest.shards
    last = int(written.user_ptr[shards[3]])
    change(place, "rating", last, 0.5 if written.rating[last] != 0.5 else 1.0)
    dataset = PreparedDataset(place)
    dataset.check(0, shards[3])
    assert "shard 3" in message(dataset.check, shards[3] + 1, shards[3] + 2)
    dataset.check(0, shards[3])
    assert "shard 3" in message(dataset.check)


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("movie", np.zeros(431, np.int64), r"holds int64 [431], not int32 [431]"),
        ("rating", np.zeros(431, np.float64), "holds float64 [431]"),
        ("rating", np.zeros((431, 1), np.float32), "holds float32 [431, 1]"),
        ("split", np.zeros(431, np.int8), "holds int8"),
        ("user_ptr", np.zeros(37, np.int64), "holds int64 [37], not int64 [38]"),
        ("timestamp", np.zeros(430, np.int64), "holds int64 [430]"),
        ("movie", np.zeros(431, ">i4"), "holds >i4"),
    ],
)
def test_types_and_lengths_are_checked_at_the_opening(place, name, array, says):
    np.save(place / f"{name}.npy", array)
    content = json.loads((place / "manifest.json").read_text())
    content["files"][f"{name}.npy"]["bytes"] = (place / f"{name}.npy").stat().st_size
    fingerprinted(place, files=content["files"])
    text = message(PreparedDataset, place)
    assert f"{name}.npy" in text and says in text


def edited(section: str, **values: object):
    return lambda content: {section: content[section] | values}


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (edited("rating", min=6.0), "a rating scale from 6.0 to 5"),
        (edited("rating", max=float("nan")), "not finite"),
        (edited("rating", std=0.0), "a standard deviation of 0.0"),
        (edited("rating", levels=[]), "levels do not ascend"),
        (edited("rating", levels=[3.0, 2.0]), "levels do not ascend"),
        (edited("rating", levels=[0.1, 9.0]), "levels are not on the rating scale"),
        (edited("counts", users=-1), "no users"),
        (edited("counts", movies=True), "no movies"),
        (edited("counts", ratings="431"), "no ratings"),
        (edited("split", counts={"train": 431}), "does not count"),
        (lambda content: {"shards": [0, 3.5, 37]}, "not whole numbers"),
        (lambda content: {"shards": [0, 37]}, "CHANGED"),
        (
            edited(
                "split",
                counts=dict.fromkeys(("train", "validation", "test", "validation_input", "test_input", "unused"), 1),
            ),
            "adds up to 6",
        ),
    ],
)
def test_the_manifest_is_checked(place, edit, says):
    content = json.loads((place / "manifest.json").read_text())
    if says == "CHANGED":  # sound in itself, but another manifest than the one that was written
        (place / "manifest.json").write_text(json.dumps(content | edit(content)))
        assert "it was changed after it was written" in message(PreparedDataset, place)
    else:
        fingerprinted(place, **edit(content))
        assert says in message(PreparedDataset, place)


@pytest.mark.parametrize("section", ["counts", "rating", "split", "shards", "order"])
def test_the_manifest_is_part_of_the_fingerprint(written, section):
    changed = dataclasses.replace(written.manifest)
    value = getattr(changed, section)
    setattr(
        changed, section, "metis" if section == "order" else [0, 37] if section == "shards" else value | {"more": 1}
    )
    assert changed.fingerprint != written.fingerprint
    assert dataclasses.replace(written.manifest, source={"files": ["elsewhere.csv"]}).fingerprint == written.fingerprint


def test_data_of_the_version_before_can_still_be_read(place, written):
    content = json.loads((place / "manifest.json").read_text())
    older = written.manifest.files
    entries = {name: {"bytes": entry["bytes"], "sha256": entry["sha256"]} for name, entry in older.items()}
    fingerprinted(place, format_version=2, files=entries)
    dataset = PreparedDataset(place)
    dataset.check()
    assert dataset.fingerprint != content["fingerprint"]
    assert np.array_equal(dataset.movie, written.movie)


def test_sound_data_are_verified(place, capsys):
    run_command(["prepare", "--verify", str(place)])
    assert f"{place} is sound: 7 files" in capsys.readouterr().out


@pytest.mark.parametrize("table", ["users", "movies"])
def test_verify_finds_ids_that_are_not_unique(place, written, table):
    ids = getattr(written, table).copy()
    column = table.removesuffix("s")
    ids.loc[1, column] = ids.loc[0, column]
    ids.to_parquet(place / f"{table}.parquet", index=False)
    content = json.loads((place / "manifest.json").read_text())
    from gnnrec.utils import files

    path = place / f"{table}.parquet"
    content["files"][path.name] = {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
    fingerprinted(place, files=content["files"])
    PreparedDataset(place)
    assert "not unique" in message(verify_data, place, VerifyDataOptions())


def test_verify_finds_a_flipped_bit_in_a_table(place):
    content = bytearray((place / "movies.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (place / "movies.parquet").write_bytes(content)
    assert "movies.parquet does not match its checksum" in message(verify_data, place, VerifyDataOptions())


def test_verify_finds_movies_that_do_not_ascend(place, written):
    without_checksums(place)
    pointer = written.user_ptr
    user = int(np.diff(pointer).argmax())
    array = np.load(place / "movie.npy", mmap_mode="r+")
    first = int(pointer[user])
    array[first], array[first + 1] = array[first + 1], array[first]
    array.flush()
    content = json.loads((place / "manifest.json").read_text())
    from gnnrec.utils import files

    content["files"]["movie.npy"]["sha256"] = files.sha256(place / "movie.npy")
    fingerprinted(place, files=content["files"])
    assert "do not ascend within a user" in message(verify_data, place, VerifyDataOptions())
