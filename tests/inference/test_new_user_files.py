"""Files of new users are read as the files of the dataset were."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.inference.new_users import NewUsers, read_new_users
from tests.data.file_cases import CASES
from tests.data.file_tables import ratings


def prepared_case(name: str, place: Path) -> PreparedDataset:
    (place / "in").mkdir()
    case = CASES[name](place / "in")
    prepare(place / "data", PrepareOptions(ratings=case.path, shards=4, **case.options))
    return PreparedDataset(place / "data")


def read(path: Path, data: PreparedDataset, **columns: str) -> NewUsers:
    return read_new_users(path, dict.fromkeys(("user", "movie", "rating", "timestamp")) | columns, data, (0,))


def rows_of(users: NewUsers) -> dict:
    """Raw id -> row in the dataset."""
    return dict(zip(users.users["user"], users.known_row.tolist()))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_digits_in_a_dataset_of_text_ids(tmp_path, kind):
    data = prepared_case("digits_among_text_ids", tmp_path)
    known = {user: row for row, user in enumerate(data.users["user"])}
    movies = [movie for movie in data.movies["movie"] if movie.isdigit()][:5]
    table = pd.DataFrame({"user": ["000002", "000004", "000002", "900001"], "movie": movies[:4], "rating": 4.0})
    path = tmp_path / f"new.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    users = read(path, data)
    assert rows_of(users) == {"000002": known["000002"], "000004": known["000004"], "900001": -1}
    assert users.unknown_movies == 0


@pytest.mark.parametrize("form", ["floats", "blanks", "text in Parquet", "one of text", "milliseconds"])
def test_other_forms_of_the_ids_of_a_dataset_of_integers(tmp_path, form):
    data = prepared_case("hive_directories", tmp_path)
    known = {int(user): row for row, user in enumerate(data.users["user"])}
    table = ratings()[:6].assign(user=[3, 3, 5, 5, 777, 777], movie=range(1, 7))
    expected = {3: known[3], 5: known[5], 777: -1}
    path = tmp_path / ("new.parquet" if "Parquet" in form else "new.csv")
    if form == "floats":
        table.astype({"user": float, "movie": float}).to_csv(path, index=False)
    elif form == "text in Parquet":
        table.astype({"user": str, "movie": str}).to_parquet(path)
    elif form == "one of text":
        table.replace({"user": {777: "anna"}}).to_csv(path, index=False)
        expected = {"3": known[3], "5": known[5], "anna": -1}
    elif form == "milliseconds":
        table.assign(time=table.time * 1000).to_csv(path, index=False)
    else:
        path.write_text(table.to_csv(index=False).replace(",", " , "))
    users = read(path, data)
    assert {type(next(iter(expected)))(user): row for user, row in rows_of(users).items()} == expected
    assert users.unknown_movies == 0
    new = users.timestamp[users.user_ptr[list(rows_of(users).values()).index(-1)] :][:2]
    assert sorted(new) == sorted(table.time[4:])


def test_clicks_and_codes_are_read_as_before(tmp_path):
    data = prepared_case("clicks", tmp_path)
    ratings()[:9].drop(columns="rating").to_csv(tmp_path / "new.csv", index=False)
    assert set(read(tmp_path / "new.csv", data).rating) == {1.0}
    (tmp_path / "2").mkdir()
    data = prepared_case("codes_of_not_rated", tmp_path / "2")
    table = ratings()[:9].assign(user=999, movie=range(1, 10), rating=[99, -1, 1, 2, 3, 4, 5, 99, 1])
    table.to_csv(tmp_path / "new.csv", index=False)
    assert len(read(tmp_path / "new.csv", data).rating) == 6


def test_a_file_without_a_header(tmp_path):
    data = prepared_case("no_header", tmp_path)
    first = data.movies["movie"].iloc[0]
    (tmp_path / "new.csv").write_text(f"AX00000007,{first},4,1500000000\nnew,{first},5,1500000000\n")
    users = read(tmp_path / "new.csv", data, columns="user,movie,rating,timestamp")
    assert users.num_users == 2 and rows_of(users)["AX00000007"] >= 0 and rows_of(users)["new"] == -1
