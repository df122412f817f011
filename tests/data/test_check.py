"""Bad input is reported in one line that names the file and the row, and leaves no partial output."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pandas as pd
import pytest

from gnnrec.data.movielens import ARCHIVES
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.errors import UserError

GOOD = ["userId,movieId,rating,timestamp", "1,10,4.0,100", "1,20,3.5,200", "2,10,5.0,300"]


def refusal(tmp_path: Path, ratings: Path | None, **options) -> str:
    """Returns the error line of a prepare that must fail and leave no files."""
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UserError) as failure:
        prepare(tmp_path / "made" / "out", PrepareOptions(ratings=ratings, **options))
    line = str(failure.value)
    assert "\n" not in line
    assert set(tmp_path.rglob("*")) == before, "files were left behind"
    return line


BAD_ROWS = {
    "too few fields": ("3,10,4.0", r"malformed row \(3 fields, not 4\): correct or remove that row"),
    "too many fields": ("3,10,4.0,400,1", r"malformed row \(5 fields, not 4\)"),
    "no user": (",10,4.0,400", "the user id is missing"),
    "no movie": ("3,,4.0,400", "the movie id is missing"),
    "no rating": ("3,10,,400", "the rating is missing or NaN"),
    "NaN": ("3,10,nan,400", "the rating is missing or NaN"),
    "infinite": ("3,10,inf,400", "the rating 'inf' is not finite"),
    "word": ("3,10,good,400", "the rating 'good' is not a number"),
    "above": ("3,10,5.5,400", 'the rating 5.5 is off the scale 0.5 to 5: .* --rating-scale "MIN MAX"'),
    "below": ("3,10,0,400", "the rating 0 is off the scale 0.5 to 5"),
    "no time": ("3,10,4.0,", "the timestamp is missing"),
    "time": ("3,10,4.0,soon", "the timestamp 'soon' is neither seconds since 1970 nor YYYY-MM-DD HH:MM:SS"),
    "text id": ("x3,10,4.0,400", "the user id 'x3' is not an integer, but other user ids are: .* pass --ids text"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("row, message", BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_row_is_reported_with_its_line(tmp_path, row, message, packed):
    path = tmp_path / ("ratings.csv.gz" if packed else "ratings.csv")
    text = "\n".join([*GOOD, "", row, "2,20,1.0,500"]) + "\n"  # a blank line counts as a line
    with gzip.open(path, "wt") if packed else open(path, "w") as file:
        file.write(text)
    assert re.match(re.escape(f"{path} line 6: ") + message, refusal(tmp_path, path))


@pytest.mark.parametrize(
    "row, message",
    [
        ("3::10::4.0", "malformed row"),
        ("3::10::nan::400", "the rating is missing or NaN"),
        ("3::10::9::400", "the rating 9 is off the scale 1 to 5"),
        ("3:x:10:y:4:z:400", "malformed row"),
    ],
)
def test_bad_row_of_a_dat_file_is_reported(tmp_path, row, message):
    path = tmp_path / "ratings.dat"
    path.write_text("\n".join([*(line.replace(",", "::").replace("3.5", "3") for line in GOOD[1:]), row]))
    assert refusal(tmp_path, path).startswith(f"{path} line 4: {message}")


@pytest.mark.parametrize("column, value, message", [("rating", None, "rating is missing"), ("userId", None, "user id")])
def test_bad_row_of_a_parquet_file_is_reported(tmp_path, column, value, message):
    table = pd.DataFrame({"userId": [1.0, 2, 3], "movieId": [1, 2, 3], "rating": [1.0, 2.0, 3.0]})
    table.loc[1, column] = value
    path = tmp_path / "ratings.parquet"
    table.to_parquet(path)
    assert re.match(re.escape(f"{path} row 2: the ") + message, refusal(tmp_path, path))


def test_text_that_is_not_utf_8_is_reported(tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(b"user,item,score\na,x,1\n\xe9,x,2\n")
    assert refusal(tmp_path, path).startswith(f"{path} line 3: the user id is not UTF-8 text")


def test_ratings_off_the_given_scale_and_bad_scales_are_reported(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("user,item,score\na,x,1\nb,x,11\n")
    assert f"{path} line 3: the rating 11 is off the scale 1 to 10" in refusal(tmp_path, path, rating_scale="1 10")
    assert "--rating-scale '10' is not a scale" in refusal(tmp_path, path, rating_scale="10")
    assert "--rating-scale (5, 1) is not a scale" in refusal(tmp_path, path, rating_scale=(5, 1))


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (GOOD[0] + "\n", "has no ratings"),
        ("\n".join(GOOD[:3]), "has ratings of one user only"),
        ("a,b,c\n1,2,3\n", "line 1: no user column among a, b, c: name it with --user-column"),
        ("user,user,item,score\n1,1,2,3\n", "line 1: column 'user' occurs more than once"),
    ],
)
def test_bad_file_is_reported(tmp_path, text, message):
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    assert f"{path} {message}" in refusal(tmp_path, path)


def test_bad_column_options_are_reported(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(GOOD))
    line = refusal(tmp_path, path, timestamp_column="when")
    assert line.startswith(f"{path} line 1: no column 'when' among userId, movieId, rating, timestamp")
    assert "column 'rating' is used for more than one role: set --" in refusal(
        tmp_path, path, timestamp_column="rating"
    )


@pytest.mark.parametrize("name", ["ratings.csv.gz", "ratings.parquet"])
def test_damaged_file_is_reported(tmp_path, name):
    path = tmp_path / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress("\n".join(GOOD * 1000).encode())[:-20])
    else:
        pd.DataFrame({"user": [1, 2], "item": [1, 2], "rating": [1, 2]}).to_parquet(path)
        path.write_bytes(path.read_bytes()[:-8])
    assert refusal(tmp_path, path).startswith(f"{path} cannot be read (")


def test_missing_file_and_empty_directory_are_reported(tmp_path):
    assert (
        refusal(tmp_path, tmp_path / "no.csv") == f"{tmp_path}/no.csv does not exist: check the path given to --ratings"
    )
    assert refusal(tmp_path, tmp_path).startswith(f"{tmp_path}: none of ratings.csv, ")


def test_bad_movies_file_is_reported(tmp_path):
    ratings, movies = tmp_path / "ratings.csv", tmp_path / "movies.csv"
    ratings.write_text("\n".join(GOOD))
    movies.write_text("movieId,title,genres\n10,Heat,Action\n20,Too,many,fields\n")
    assert refusal(tmp_path, ratings).startswith(f"{movies} line 3: malformed row (4 fields, not 3)")
    movies.write_text("movieId,title,genres\n10,Heat,Action\n,Nameless,Drama\n")
    assert refusal(tmp_path, ratings).startswith(f"{movies} line 3: the movie id is missing")
    assert refusal(tmp_path, ratings, movies=tmp_path / "no.csv").startswith(f"{tmp_path}/no.csv does not exist")


def test_unknown_dataset_is_reported_with_the_known_ones(tmp_path):
    line = refusal(tmp_path, None, dataset="ml-21m")
    assert line.startswith("--dataset ml-21m is unknown: choose one of ml-latest-small, ml-1m")
    assert all(name in line for name in ARCHIVES)


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "give either --dataset NAME or --ratings FILE"),
        ({"ratings": Path("x"), "dataset": "ml-1m"}, "give either"),
        ({"ratings": Path("x"), "test": 1.0}, "--test 1.0: must be from 0 to below 1"),
        ({"ratings": Path("x"), "validation": -0.1}, "--validation -0.1: must be from 0 to below 1"),
        ({"ratings": Path("x"), "shards": 0}, "--shards 0: must be at least 1"),
        ({"ratings": Path("x"), "protocol": "leave"}, "--protocol leave is unknown: choose random or temporal"),
        ({"ratings": Path("x"), "order": "none"}, "--order none is unknown: choose balanced or metis"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, message):
    assert refusal(tmp_path, options.pop("ratings", None), **options).startswith(message)


def test_existing_output_is_kept_unless_a_new_one_is_complete(tmp_path):
    path, out = tmp_path / "ratings.csv", tmp_path / "out"
    path.write_text("\n".join(GOOD))
    first = prepare(out, PrepareOptions(ratings=path))
    with pytest.raises(UserError, match="out exists already: choose another directory or pass --overwrite"):
        prepare(out, PrepareOptions(ratings=path))
    path.write_text("\n".join([*GOOD, "3,30,1.0,1,9"]))
    with pytest.raises(UserError, match="line 5: malformed row"):
        prepare(out, PrepareOptions(ratings=path, overwrite=True))
    assert (out / "manifest.json").exists() and set(tmp_path.iterdir()) == {path, out}
    path.write_text("\n".join([*GOOD, "3,30,1.0,1"]))
    second = prepare(out, PrepareOptions(ratings=path, overwrite=True))
    assert (first.counts["ratings"], second.counts["ratings"]) == (3, 4) and set(tmp_path.iterdir()) == {path, out}
