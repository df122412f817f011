"""Features in a prepared dataset are mapped arrays with a schema; damage is found where it is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.verify import VerifyDataOptions, verify_data
from gnnrec.errors import UserError
from tests.datasets import with_features, write_dataset


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("plain"), shards=4)


@pytest.fixture(scope="module")
def arrays(plain) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"user": rng.normal(size=(plain.num_users, 3)), "movie": rng.normal(size=(plain.num_movies, 5))}


@pytest.fixture(scope="module")
def written(plain, arrays, tmp_path_factory) -> PreparedDataset:
    return with_features(plain, tmp_path_factory.mktemp("features") / "data", **arrays)


@pytest.fixture
def place(written, tmp_path) -> Path:
    return Path(shutil.copytree(written.directory, tmp_path / "data"))


def unfingerprinted(place: Path, edit) -> None:
    """Edits the manifest as a program would that writes no fingerprint and no checksums of shards."""
    path = place / "manifest.json"
    content = json.loads(path.read_text())
    content.pop("fingerprint")
    edit(content)
    path.write_text(json.dumps(content))


def test_features_are_mapped_in_row_order(written, arrays):
    for node, expected in arrays.items():
        features = written.features(node)
        assert isinstance(features.x, np.memmap) and features.x.dtype == np.float32
        assert np.array_equal(features.x, expected.astype(np.float32))
        assert np.array_equal(features.read(5, 17), features.x[5:17])
        assert [group.name for group in features.schema] == [f"column {k}" for k in range(expected.shape[1])]
        assert features.schema[-1].slice == slice(expected.shape[1] - 1, expected.shape[1])


def test_data_without_features_have_none(plain, written):
    assert plain.features("user") is None and plain.features("movie") is None
    assert written.fingerprint != plain.fingerprint


def test_verify_reads_features(place, capsys):
    verify_data(place, VerifyDataOptions())
    changed = np.load(place / "movie_features.npy", mmap_mode="r+")
    changed[2, 1] += 1
    changed.flush()
    with pytest.raises(UserError, match="movie_features.npy does not match its checksum"):
        verify_data(place, VerifyDataOptions())


@pytest.mark.parametrize("node", ["user", "movie"])
def test_a_changed_value_is_found_in_the_part_that_has_it(place, node):
    array = np.load(place / f"{node}_features.npy", mmap_mode="r+")
    array[-1, 1] += 1e-3
    array.flush()
    features = PreparedDataset(place).features(node)
    first = features.bounds[-2]
    with pytest.raises(UserError, match=rf"{node}_features.npy is damaged: part {len(features.bounds) - 2} .*again"):
        features.read(first)
    if node == "user":
        assert len(features.bounds) == 5 and len(features.read(0, first)) == first


def test_values_that_are_not_finite_are_found_without_checksums(place):
    array = np.load(place / "user_features.npy", mmap_mode="r+")
    array[3, 0] = np.nan
    array.flush()
    unfingerprinted(place, lambda content: content["files"]["user_features.npy"].pop("shards"))
    with pytest.raises(UserError, match="a value of part 0 is not finite"):
        PreparedDataset(place).features("user").read(2, 9)


def changed(content: dict, **values: object) -> dict:
    return content | {"movie": content["movie"] | values}


MISTAKES = {
    "version 9": lambda content: content | {"version": 9},
    "KeyError 'movie'": lambda content: {"version": 1, "user": content["user"]},
    "30 rows, not 29": lambda content: changed(content, rows=30),
    "groups of 5 columns, not 6": lambda content: changed(content, columns=6),
    "do not follow": lambda content: changed(content, groups=content["movie"]["groups"][1:]),
    "is malformed": lambda content: changed(content, groups=[content["movie"]["groups"][0] | {"kind": "shape"}]),
    "weights that no file holds": lambda content: changed(
        content,
        groups=[content["movie"]["groups"][0] | {"details": {"weights": [0, 2, 1]}}, *content["movie"]["groups"][1:]],
    ),
    "holds float32 [29, 5], not float32 [29, 4]": lambda content: changed(
        content, groups=content["movie"]["groups"][:4], columns=4
    ),
}


@pytest.mark.parametrize("says", MISTAKES)
def test_a_schema_that_does_not_fit_is_refused_when_the_data_are_opened(place, says):
    path = place / "features.json"
    path.write_text(json.dumps(MISTAKES[says](json.loads(path.read_text()))))
    unfingerprinted(place, lambda content: content["files"]["features.json"].update(bytes=path.stat().st_size))
    with pytest.raises(UserError) as problem:
        PreparedDataset(place)
    text = str(problem.value)
    assert says in text and text.endswith("run gnnrec prepare again") and "\n" not in text
