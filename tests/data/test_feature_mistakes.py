"""Mistakes in tables of features: one line with file, column and row, and what to do; columns that are left out."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnnrec.data.features.new_nodes import encode_new_nodes
from gnnrec.data.out_of_core import partition_by_user
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from tests.data.feature_tables import USERS, ratings

NUMBER = np.arange(1, USERS + 1)
GOOD = "".join(f"{k},{k % 50},note {k % 4}\n" for k in NUMBER)
HEADER = "user,age,note\n"
#: Name of the file -> contents, options and what the line says.
TEXTS: dict[str, tuple[str | bytes, dict, list[str]]] = {
    "twice.csv": (HEADER + GOOD + "7,1,x\n", {}, ["line 62: user id 7 occurs twice", "line 8)", "correct or remove"]),
    "no_id.csv": (HEADER + GOOD + ",1,x\n", {}, ["line 62: the user id is missing"]),
    "strangers.csv": (HEADER + "701,1,x\n702,2,y\n", {}, ["line 2", "such as 701", "'user'", "--user-column"]),
    "infinite.csv": (HEADER + GOOD + "61,inf,x\n", {}, ["line 62: column 'age' is infinite", "leave it empty"]),
    "word.csv": (
        HEADER + GOOD + "61,old,x\n",
        {"feature_types": "age=number"},
        ["line 62: column 'age' holds 'old', which is not a number", "--feature-types age=category"],
    ),
    "day.csv": (HEADER + GOOD, {"feature_types": "note=date"}, ["line 2: column 'note' holds 'note 1'", "not a date"]),
    "typo.csv": (
        "user,x\n" + "".join(f"{k},{k}.5\n" for k in NUMBER[:-1]) + "60,abc\n",
        {},
        ["line 61: column 'x' holds 'abc', which is not a number", "--feature-types x=category"],
    ),
    "february.csv": (
        "user,d\n" + "".join(f"{k},2001-02-{k % 28 + 1:02d}\n" for k in NUMBER[:-1]) + "60,2001-02-30\n",
        {},
        ["line 61: column 'd' holds '2001-02-30', which is not a date"],
    ),
    "latin.jsonl": (b'{"user": 1, "name": "caf\xe9"}\n', {}, ["line 1: column 'name' is not UTF-8"]),
    "latin_name.csv": ("user,caf\xe9\n1,2\n".encode("latin-1"), {}, ["line 1: names of columns are not UTF-8"]),
    "header.csv": (HEADER, {}, ["has no rows"]),
    "short.csv": (HEADER + GOOD + "61,1\n", {}, ["line 62", "2 fields, not 3"]),
    "latin.csv": ((HEADER + GOOD + "61,1,caf\xe9\n").encode("latin-1"), {}, ["line 62: column 'note' is not UTF-8"]),
    "vector.csv": (
        "user,taste\n" + "".join(f"{k},0.5 1.5\n" for k in NUMBER) + "61,0.5\n",
        {"feature_types": "taste=vector"},
        ["line 62: column 'taste' has a vector of 1 numbers where others have 2"],
    ),
    "nan_vector.csv": (
        "user,taste\n" + "".join(f"{k},[0.5; nan]\n" for k in NUMBER),
        {"feature_types": "taste=vector"},
        ["line 2: column 'taste' has a vector with a"],
    ),
    "names.csv": (
        HEADER + GOOD,
        {"feature_types": "agee=number"},
        ["no table has a column 'agee'", "did you mean age?"],
    ),
    "kinds.csv": (HEADER + GOOD, {"feature_types": "age=numbr"}, ["kind 'numbr' is unknown", "did you mean number?"]),
    "syntax.csv": (HEADER + GOOD, {"feature_types": "age"}, ["--feature-types 'age'", "COLUMN=KIND"]),
    "nodes.csv": (
        HEADER + GOOD,
        {"feature_types": "movie.age=number"},
        ["no table of movies has a column 'age'", "--movie-features"],
    ),
    "codes.csv": (
        "user,code\n" + "".join(f"{k},c{k}\n" for k in NUMBER),
        {"feature_types": "code=category"},
        ["column 'code'", "none of the 60 categories", "in 60 rows", "code=text", "code=drop", "--feature-count"],
    ),
    "numbers.csv": (GOOD.replace("note ", ""), {}, ["line 1", "begin the file with a line of the names"]),
    "who.csv": ("who,age\n1,2\n", {}, ["line 1: no user column among who, age", "--user-column"]),
    "alone.csv": ("user\n1\n2\n", {}, ["no column besides 'user'"]),
    "repeated.csv": ("user,age,age\n1,2,3\n", {}, ["column 'age' occurs more than once"]),
    "movies.dat": ("1::Film::Drama\n", {}, ["has no user ids", "--movie-features"]),
}


def message(place: Path, **options) -> str:
    """The line, without a traceback; nothing has been written."""
    ratings().to_csv(place / "log.csv", index=False)
    with pytest.raises(UserError) as problem:
        prepare(place / "data", PrepareOptions(ratings=place / "log.csv", **options))
    assert "\n" not in str(problem.value) and not (place / "data").exists()
    return str(problem.value)


@pytest.mark.parametrize("name", TEXTS)
def test_files_of_text(name, tmp_path):
    content, options, says = TEXTS[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = message(tmp_path, user_features=[str(path)], **options)
    assert [words for words in says if words not in line] == [], line
    assert line.startswith(str(path)) or "--feature-types" in line


def test_two_tables_with_a_column_of_one_name(tmp_path):
    pd.DataFrame({"user": NUMBER, "age": NUMBER}).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"user": NUMBER, "age": NUMBER, "more": 1}).to_csv(tmp_path / "b.csv", index=False)
    line = message(tmp_path, user_features=[str(tmp_path / "a.csv"), str(tmp_path / "b.csv")])
    assert f"b.csv: column 'age' is in {tmp_path}/a.csv too: rename" in line


def test_parts_that_repeat_an_id_name_the_row_of_their_file(tmp_path):
    pd.DataFrame({"user": NUMBER[:30], "age": 1}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"user": NUMBER[28:], "age": 1}).to_parquet(tmp_path / "b.parquet")
    line = message(tmp_path, user_features=[str(tmp_path / "*.parquet")])
    assert f"b.parquet row 1: user id 29 occurs twice (before in {tmp_path}/a.parquet row 29)" in line


@pytest.mark.parametrize("case", ["ids", "count", "shape", "nan", "nothing", "directory"])
def test_arrays_and_paths(tmp_path, case):
    vectors = np.ones((USERS, 3))
    vectors[4, 1] = np.nan if case == "nan" else 2
    np.save(tmp_path / "v.npy", vectors[0] if case == "shape" else vectors)
    if case != "ids":
        np.save(tmp_path / "v_ids.npy", NUMBER[: 50 if case == "count" else None])
    (tmp_path / "empty").mkdir()
    name = {"nothing": "other.npy", "directory": "empty"}.get(case, "v.npy")
    line = message(tmp_path, user_features=[str(tmp_path / name)])
    says = {
        "ids": "v_ids.npy or v_ids.txt in the same directory",
        "count": "v_ids.npy has 50 ids, but",
        "shape": "holds float64 [3]: vectors are numbers [rows, length]",
        "nan": "v.npy row 5: column 'v' has a vector with a number that is infinite or missing",
        "nothing": "other.npy is missing: check the path given to --user-features",
        "directory": "no file there can hold features",
    }
    assert says[case] in line


def test_a_run_with_unknown_ids_is_resumed(tmp_path, monkeypatch):
    """The ratings are not read again when the table has been corrected."""
    table = pd.DataFrame({"user": NUMBER + 1000, "age": NUMBER})
    table.to_csv(tmp_path / "users.csv", index=False)
    options = {"engine": "stream", "user_features": [str(tmp_path / "users.csv")]}
    assert "such as 1001, has ratings" in message(tmp_path, **options)
    table.assign(user=NUMBER).to_csv(tmp_path / "users.csv", index=False)
    monkeypatch.delattr(partition_by_user, "_write")
    prepare(tmp_path / "data", PrepareOptions(ratings=tmp_path / "log.csv", **options))
    assert PreparedDataset(tmp_path / "data").features("user") is not None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_types_without_tables(tmp_path):
    assert "add --movie-features or --user-features" in message(tmp_path, feature_types="age=number")


def test_columns_that_say_nothing_and_unknown_ids_are_named(tmp_path, caplog):
    """A column that is equal where it has a value tells which users have one."""
    ratings().to_csv(tmp_path / "log.csv", index=False)
    number = np.arange(1, USERS + 4)
    table = {"user": number, "age": number, "same": 3, "none": None, "word": "x", "url": [f"u{k}" for k in number]}
    table |= {"some": np.where(number % 2, 1, np.nan), "vec": [[1.0, 2.0]] * len(number)}
    pd.DataFrame(table).to_parquet(tmp_path / "users.parquet")
    options = {"ratings": tmp_path / "log.csv", "user_features": [str(tmp_path / "users.parquet")]}
    with caplog.at_level(logging.INFO):
        prepare(tmp_path / "data", PrepareOptions(**options))
    schema = PreparedDataset(tmp_path / "data").features("user").schema
    assert [(group.name, group.columns) for group in schema] == [("age", 1), ("some", 1)]
    for words in (
        "left out: same (all values are 3)", "left out: none (no row has a value)", "left out: word (all values are x)",
        "left out: url (63 different values in 63 rows)", "left out: vec (all vectors are equal)",
        "3 users without ratings are left out (the first: 61)",
    ):  # fmt: skip
        assert words in caplog.text


def test_the_dry_run_prints_the_kinds(tmp_path, caplog):
    ratings().to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "users.csv").write_text(HEADER + GOOD)
    options = {"ratings": tmp_path / "log.csv", "user_features": [str(tmp_path / "users.csv")], "dry_run": True}
    with caplog.at_level(logging.INFO):
        prepare(tmp_path / "data", PrepareOptions(**options))
    assert "features of users (users.csv with 60 rows)" in caplog.text and not (tmp_path / "data").exists()
    assert "age: number" in caplog.text and "note: category" in caplog.text


@pytest.mark.parametrize("case", ["column", "length", "id"])
def test_new_nodes_that_do_not_fit(tmp_path, case):
    ratings().to_csv(tmp_path / "log.csv", index=False)
    table = pa.table({"user": NUMBER, "taste": [[k, 0.5] for k in NUMBER.tolist()]})
    pq.write_table(table, tmp_path / "users.parquet")
    options = {"ratings": tmp_path / "log.csv", "user_features": [str(tmp_path / "users.parquet")]}
    prepare(tmp_path / "data", PrepareOptions(**options))
    new = {
        "column": pa.table({"user": [70], "tastes": [[1.0, 2.0]]}),
        "length": pa.table({"user": [70], "taste": [[1.0, 2.0, 3.0]]}),
        "id": pa.table({"user": ["x70"], "taste": [[1.0, 2.0]]}),
    }
    pq.write_table(new[case], tmp_path / "new.parquet")
    says = {
        "column": "no column 'taste', which the dataset was prepared with: is 'tastes' meant?",
        "length": "row 1: column 'taste' has vectors of 3 numbers, those of the dataset have 2",
        "id": "row 1: user id x70 is not an integer",
    }
    features = PreparedDataset(tmp_path / "data").features("user")
    with pytest.raises(UserError) as problem:
        encode_new_nodes(features, [tmp_path / "new.parquet"], text_ids=False)
    assert says[case] in str(problem.value) and str(tmp_path / "new.parquet") in str(problem.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("3,2,high", "line 6: column 'relevance' holds 'high', which is not a finite number: correct or remove"),
        ("3,2,", "line 6: column 'relevance' holds '', which is not a finite number"),
        ("3,2,inf", "line 6: column 'relevance' holds 'inf', which is not a finite number"),
        ("three,2,0.5", "line 6: column 'movieId' holds 'three', which is not a whole number"),
        ("3,,0.5", "line 6: column 'tagId' holds '', which is not a whole number"),
        ("1,1,0.25", "line 6: movie 1 and tag 1 occur twice: remove one of the rows"),
        ("3,2", "line 6: malformed row (2 fields, not 3)"),
    ],
)
def test_mistakes_in_the_genome_are_named_with_their_line(tmp_path, row, says):
    ratings().to_csv(tmp_path / "log.csv", index=False)
    rows = ["movieId,tagId,relevance", "1,1,0.5", "1,2,0.25", "", "2,1,0.75", row, "4,1,0.5"]
    (tmp_path / "genome-scores.csv").write_text("\n".join(rows) + "\n")
    options = {"ratings": tmp_path / "log.csv", "movie_features": [str(tmp_path / "genome-scores.csv")]}
    with pytest.raises(UserError) as error:
        prepare(tmp_path / "data", PrepareOptions(**options))
    assert f"{tmp_path / 'genome-scores.csv'} {says}" in str(error.value)
