"""Files that cannot be understood are refused in one line that names the file, the row and the option that helps."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.out_of_core import prepare as out_of_core
from gnnrec.data.out_of_core.size import Plan
from gnnrec.data.pairs import PairsFile
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.errors import UserError
from tests.data.file_tables import ratings, text_ids


def refusal(path, engine: str = "memory", **options) -> str:
    """The line with which a file is refused."""
    with pytest.raises(UserError) as failure:
        prepare(path.parent / "out", PrepareOptions(ratings=path, engine=engine, **options))
    line = str(failure.value)
    assert "\n" not in line and line.isprintable() and len(line) < 450, line
    assert not (path.parent / "out").exists()
    return line


def test_a_file_without_a_header_loses_no_row(tmp_path):
    path = tmp_path / "ratings.csv"
    text_ids().to_csv(path, header=False, index=False)
    first = text_ids().iloc[0]
    line = refusal(path)
    assert line.startswith(f"{path} line 1: ") and "there seems to be no header" in line
    assert "--columns user,movie,rating,timestamp" in line
    for advice in ({"user_column": first.user}, {"rating_column": str(first.rating), "movie_column": first.movie}):
        assert "there seems to be no header" in refusal(path, **advice)
    assert "has 3 names: name every column" in refusal(path, columns="user,movie,rating")
    assert "has an empty name" in refusal(path, columns="user,,rating,timestamp")
    assert "no rating column among user, movie, x, timestamp" in refusal(path, columns="user,movie,x,timestamp")


@pytest.mark.parametrize("separator", [",", "\t", "::"])
def test_columns_are_refused_for_a_file_with_a_header(tmp_path, separator):
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(separator.join(row) for row in (["user", "movie", "rating"], ["1", "2", "3"])))
    line = refusal(path, columns="user,movie,rating")
    assert f"{path} line 1: the first line (user, movie, rating) seems to be a header" in line
    assert "omit --columns" in line


def test_columns_are_refused_for_files_with_names(tmp_path):
    ratings().to_parquet(tmp_path / "a.parquet")
    ratings().to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    (tmp_path / "a.txt").write_text("7:\n1,5,2005-09-06\n")
    for name in ("a.parquet", "a.jsonl", "a.txt"):
        line = refusal(tmp_path / name, columns="user,movie,rating,timestamp")
        assert line.startswith(f"{tmp_path / name} has names of columns: omit --columns")


def test_columns_are_refused_for_pairs_with_a_header(tmp_path):
    (tmp_path / "pairs.csv").write_text("user,movie\n1,2\n")
    with pytest.raises(UserError, match="seems to be a header"):
        PairsFile(tmp_path / "pairs.csv", {"user": None, "movie": None, "columns": "user,movie"}, 10)
    (tmp_path / "pairs.csv").write_text("2,1\n3,1\n")
    assert PairsFile(tmp_path / "pairs.csv", {"columns": "movie,user"}, 10).count == 2


@pytest.mark.parametrize("header", ["numbers", "titles", "none"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_wide_matrix_is_named(tmp_path, header, kind):
    wide = ratings().pivot(index="user", columns="movie", values="rating").fillna(99).reset_index()
    wide.columns = ["user", *(f"A film {k}" if header == "titles" else str(k) for k in range(1, 41))]
    path = tmp_path / f"jester.{kind}"
    if kind == "csv":
        wide.to_csv(path, index=False, header=header != "none")
    else:
        wide.to_parquet(path)
    line = refusal(path)
    assert line.startswith(f"{path}: this seems to be a wide matrix of 41 columns")
    assert "a row for each rating" in line and "--not-rated 99" in line


def test_clicks_name_the_option_for_them(tmp_path):
    path = tmp_path / "clicks.csv"
    ratings().drop(columns="rating").to_csv(path, index=False)
    assert "no rating column among user, movie, time" in refusal(path) and "--implicit" in refusal(path)
    assert "leave out --rating-column" in refusal(path, implicit=True, rating_column="time")


def test_whole_records_are_not_printed(tmp_path):
    record = {"who": "A" * 300, "what": "B" * 300, "text": "a review " * 300, **{f"key {k}": "C" for k in range(50)}}
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    assert "has no user column among who, what, text, key 0" in refusal(tmp_path / "a.jsonl")
    (tmp_path / "b.csv").write_text(",".join([*map(str, record.values()), "7"]))
    assert "--columns" in refusal(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text('user,item,rating\n1,2,"' + "a review " * 300 + '"\n')
    assert "c.csv line 2: the rating 'a review " in refusal(tmp_path / "c.csv")
    assert "..." in refusal(tmp_path / "c.csv")


JSON_GOOD = '{"user": 1, "item": 2, "rating": 3}\n{"user": 2, "item": 3, "rating": 4}\n'
TEXT_FILES = {
    "json line that ends early": (
        "a.jsonl",
        JSON_GOOD + '{"user": 1, "it\n',
        "line 3: malformed row \\(it is not JSON",
    ),
    "json list": ("a.jsonl", JSON_GOOD + "[1, 2]\n", "line 3: malformed row \\(it is not one JSON record\\)"),
    "json without a rating": ("a.jsonl", JSON_GOOD + '{"user": 1, "item": 5}\n', "line 3: the rating is missing"),
    "json rating of text": (
        "a.jsonl",
        JSON_GOOD + '{"user": 1, "item": 5, "rating": "x"}',
        "line 3: the rating 'x' is",
    ),
    "json user of a record": (
        "a.jsonl",
        JSON_GOOD + '{"user": {}, "item": 5, "rating": 1}',
        "line 3: the user id {} is",
    ),
    "json array": (
        "a.json",
        f"[{JSON_GOOD.splitlines()[0]}]",
        ": is one JSON array|is one JSON array: write one record",
    ),
    "python records": ("a.json", "{'user': 1, 'item': 2}\n", "line 1: it is not JSON.*write one JSON record"),
    "netflix row": ("a.txt", "7:\n1,5,2005-09-06\n2,4\n", "line 3: malformed row \\(3 fields, not 4\\)"),
    "netflix rating": ("a.txt", "7:\n1,5,2005-09-06\n2,x,2005-09-06\n", "line 3: the rating 'x' is not a number"),
    "netflix time": ("a.txt", "7:\n1,5,2005-09-06\n8:\n2,1,today\n", "line 4: the timestamp 'today' is neither"),
    "netflix qualifying": ("a.txt", "1:\n1046323,2005-12-19\n", "line 2: malformed row \\(3 fields, not 4\\)"),
    "blank id": ("a.csv", "user,item,rating\n1,2,3\n2,  ,3\n", "line 3: the movie id is missing"),
    "missing id between blanks": ("a.csv", "user,item,rating\n1,2,3\n NULL ,1,3\n", "line 3: the user id is missing"),
    "offset": (
        "a.csv",
        "user,item,rating,date\n1,2,3,2014-05-13T10:00+05:00\n1,3,3,2014-13-13T10:00+05:00\n",
        "line 3: the",
    ),
    "empty header": ("a.csv", "user,item,rating\n", "has no ratings"),
    "codes alone": ("a.csv", "user,item,rating\n1,2,99\n2,3,99\n", "has no ratings: all 2 rows .* --not-rated"),
    "code that is not named": (
        "a.csv",
        "user,item,rating\n1,2,-1\n2,3,99\n2,9,8",
        "line 2: the rating -1 is off the scale .* --not-rated -1",
    ),
}


@pytest.mark.parametrize("engine", ["memory", "stream"])
@pytest.mark.parametrize("name, text, message", TEXT_FILES.values(), ids=TEXT_FILES)
def test_wrong_rows_are_named(tmp_path, name, text, message, engine):
    (tmp_path / name).write_text(text)
    options = {"not_rated": ["99"]} if "99" in text else {}
    if "scale" in message:
        options["rating_scale"] = "1 10"
    assert re.search(f"{re.escape(str(tmp_path / name))} ?({message})", refusal(tmp_path / name, engine, **options))


@pytest.mark.parametrize("engine", ["memory", "stream"])
@pytest.mark.parametrize("role", ["user", "movie"])
@pytest.mark.parametrize("odd", ["99.5", "9" * 23, "9" * 19, "a\0b", "x3", "1e5"])
def test_one_id_among_integers_is_refused_unless_ids_are_text(tmp_path, prepared, monkeypatch, odd, role, engine):
    monkeypatch.setattr(out_of_core, "plan", lambda layouts, options: Plan(137, 1))
    table = ratings().astype({role: object})
    table.loc[700, role] = odd
    path = tmp_path / "own.csv"
    table.to_csv(path, index=False)
    line = refusal(path, engine)
    assert line.startswith(f"{path} line 702: the {role} id '{odd[:3].split(chr(0))[0]}")
    assert "is not an integer, but other" in line and "--ids text" in line
    data = prepared(path, tmp_path / "text", ids="text", engine=engine)
    assert set(getattr(data, f"{role}s")[role]) == set(table[role].astype(str))


@pytest.mark.parametrize("engine", ["memory", "stream"])
def test_a_share_of_text_ids_is_accepted(tmp_path, prepared, engine):
    table = ratings().astype({"user": str})
    some = table["user"].isin(["7", "8"])
    table["user"] = table["user"].where(~some, "guest " + table["user"])
    table.to_csv(tmp_path / "own.csv", index=False)
    data = prepared(tmp_path / "own.csv", tmp_path / "data", engine=engine)
    assert set(data.users["user"]) == set(table["user"])


def test_one_fraction_among_floats_is_refused_in_parquet(tmp_path, prepared):
    table = ratings().astype({"movie": float})
    table.loc[300, "movie"] = 99.5
    table.to_parquet(tmp_path / "a.parquet")
    assert "a.parquet row 301: the movie id '99.5' is not an integer" in refusal(tmp_path / "a.parquet")
    data = prepared(tmp_path / "a.parquet", tmp_path / "text", ids="text")
    assert "99.5" in set(data.movies["movie"]) and {"1", "40"} <= set(data.movies["movie"])


def test_a_pattern_names_the_file_with_the_mistake(tmp_path):
    for number in range(3):
        part = ratings()[number * 300 : number * 300 + 300].astype({"user": object})
        if number == 1:
            part.iloc[10, 0] = "unknown"
        with gzip.open(tmp_path / f"part-{number}.csv.gz", "wt") as file:
            part.to_csv(file, index=False)
    for engine in ("memory", "stream"):
        assert "part-1.csv.gz line 12: the user id 'unknown'" in refusal(tmp_path / "part-*.csv.gz", engine)


def test_codes_are_numbers(tmp_path):
    ratings().to_csv(tmp_path / "a.csv", index=False)
    assert refusal(tmp_path / "a.csv", not_rated=["none"]) == "--not-rated none: must be a number, such as 99 or -1"


def test_columns_of_a_movies_file(tmp_path):
    ratings().to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"x": np.arange(40), "y": "A film"}).to_csv(tmp_path / "m.csv", index=False, header=False)
    line = refusal(tmp_path / "a.csv", movies=tmp_path / "m.csv")
    assert "m.csv line 1: a row (0, A film)" in line and "--movies-columns movie,title,genres" in line
