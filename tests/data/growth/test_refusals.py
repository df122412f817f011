"""Files that do not fit a dataset are refused in one line, and nothing is changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.data.growth.append import append
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.growth.generations import change
from gnnrec.data.out_of_core import size
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from tests.data.growth.days import write_days


@pytest.fixture(scope="module")
def made(days, tmp_path_factory) -> Path:
    """``data``, prepared from ``day0.csv``, beside ``day1.csv`` and ``day2.csv``."""
    place = tmp_path_factory.mktemp("made")
    paths = write_days(days, place)
    prepare(place / "data", PrepareOptions(ratings=paths[0], shards=4))
    append(place / "data", AppendOptions(append=[str(paths[1])]))
    return place


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def text_ids(day: pd.DataFrame) -> pd.DataFrame:
    return day.assign(user=day["user"].astype(str).where(day.index != day.index[7], "x7"))


CASES = {
    "the same file": (None, [], "day1.csv is in the dataset already (its contents were appended on "),
    "the file of the preparation": (None, [], "day0.csv is in the dataset already"),
    "older": (lambda day: day.assign(timestamp=1), [], "(1970-01-01 00:00:01) is older than the newest of"),
    "another scale": (lambda day: day.assign(rating=day["rating"] * 10), [], "are off the scale 0.5 to 5 of"),
    "text ids": (text_ids, [], "line 9: the user id 'x7' is not an integer, but those of the dataset are"),
    "no times": (lambda day: day.drop(columns="timestamp"), [], "has no times, and the ratings of"),
    "unknown columns": (lambda day: day.set_axis(list("abcd"), axis=1), [], "no user column among a, b, c, d"),
    "a wrong name": (lambda day: day, ["--user-column", "person"], "no column 'person'"),
    "a split": (
        lambda day: day,
        ["--split-column", "rating"],
        "--split-column is for datasets with a split of your own",
    ),
    "a missing rating": (
        lambda day: day.assign(rating=[np.nan, *day["rating"][1:]]),
        [],
        "line 2: the rating is missing",
    ),
    "features": (lambda day: day, ["--movie-features", "x.csv"], "was prepared without features of movies"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line_and_changes_nothing(made, days, tmp_path, case):
    edit, options, expected = CASES[case]
    path = tmp_path / "new.csv"
    if edit is None:
        path = made / expected.split()[0]
    else:
        edit(days[2].copy()).to_csv(path, index=False)
    before = contents(made / "data")
    with pytest.raises(UserError) as problem:
        run_command(["prepare", str(made / "data"), "--append", str(path), *options])
    assert expected in str(problem.value) and "\n" not in str(problem.value)
    assert contents(made / "data") == before


def test_append_needs_a_file_and_a_dataset(made, tmp_path):
    for words, expected in (
        ([str(made / "data"), "--append", str(tmp_path / "gone.csv")], "gone.csv does not exist"),
        ([str(tmp_path), "--append", str(made / "day1.csv")], "is not a prepared dataset"),
        ([str(made / "data"), "--forget-user", "4"], "has no such user"),
        ([str(made / "data"), "--forget-user", "abc"], "--forget-user abc: "),
    ):
        with pytest.raises(UserError, match=expected):
            run_command(["prepare", *words])


def test_a_file_that_is_insisted_on_is_appended_again(made, days, tmp_path):
    run_command(["prepare", str(made / "data"), "--append", str(made / "day2.csv")])
    first = PreparedDataset(made / "data")
    run_command(["prepare", str(made / "data"), f"--append={made / 'day1.csv'}", "--again"])
    data = PreparedDataset(made / "data", verify=True)
    assert [entry["files"][0]["name"] for entry in data.manifest.increments] == ["day1.csv", "day2.csv", "day1.csv"]
    assert data.fingerprint != first.fingerprint and data.num_ratings == first.num_ratings
    assert np.array_equal(first.movie, data.movie)  # files of the generation before are still there


def test_a_split_that_cannot_be_made_again(made, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(made / "data", data)
    content = json.loads((data / "manifest.json").read_text())
    del content["split"]["seed"], content["fingerprint"]
    (data / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="manifest.json: split has no seed"):
        run_command(["prepare", str(data), "--append", str(made / "day2.csv")])


def test_more_ratings_than_memory(made, monkeypatch):
    monkeypatch.setattr(size, "IN_MEMORY", 10**9)
    with pytest.raises(
        UserError, match=r"day2.csv: appending needs about \d+\.\d GB of memory .* smaller files at a time"
    ):
        run_command(["prepare", str(made / "data"), "--append", str(made / "day2.csv"), "--again"])


def test_two_changes_at_once(made):
    before = contents(made / "data")
    with change(made / "data"), pytest.raises(UserError, match="is being changed by another process"):
        run_command(["prepare", str(made / "data"), "--compact"])
    assert contents(made / "data") == before
