"""The same 900 made-up ratings in the files that users bring, one function for each kind.

A function writes files into a directory and returns a :class:`Case`: how they are prepared, and the table that an
independent reading gives. ``test_file_cases.py`` prepares them and compares.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.file_tables import NAMES, Case, days, digits_as_text, movies, ratings, text_ids

CASES: dict[str, Callable[[Path], Case]] = {}


def case(function: Callable[[Path], Case]) -> Callable[[Path], Case]:
    CASES[function.__name__] = function
    return function


@case
def no_header(at: Path) -> Case:
    text_ids().to_csv(at / "ratings.csv", header=False, index=False)
    return Case(at / "ratings.csv", text_ids(), {"columns": "user,movie,rating,timestamp"})


@case
def no_header_with_tabs_and_further_columns(at: Path) -> Case:
    table = ratings().assign(note="x")
    with gzip.open(at / "log.tsv.gz", "wt", newline="") as file:
        table[["time", "note", "movie", "user", "rating"]].to_csv(file, header=False, index=False, sep="\t")
    return Case(at / "log.tsv.gz", ratings(), {"columns": "timestamp, -, item_id, uid, stars"})


@case
def no_header_with_blanks_between_fields(at: Path) -> Case:
    table = ratings().astype({"rating": int}).drop(columns="time")
    table.to_csv(at / "ratings.txt", header=False, index=False, sep=" ")
    return Case(at / "ratings.txt", ratings().drop(columns="time"), {"columns": "user,movie,rating"})


@case
def no_header_with_two_colons_in_another_order(at: Path) -> Case:
    lines = [f"{row.rating:g}::{row.user}::{row.movie}::{row.time}\n" for row in ratings().itertuples()]
    (at / "log.dat").write_text("".join(lines))
    return Case(at / "log.dat", ratings(), {"columns": "rating,user,movie,timestamp"})


@case
def header_of_numbers(at: Path) -> Case:
    ratings().set_axis(range(4), axis=1).to_csv(at / "a.csv", index=False)
    named = {f"{role}_column": str(number) for number, role in enumerate(("user", "movie", "rating", "timestamp"))}
    return Case(at / "a.csv", ratings(), named)


@case
def json_lines(at: Path) -> Case:
    with gzip.open(at / "reviews.jsonl.gz", "wt") as file:
        for row in text_ids().itertuples():
            record = {"user_id": row.user, "text": 'a, "review"\n' * 3, "parent_asin": row.movie, "rating": row.rating}
            file.write(json.dumps(record | {"timestamp": row.time * 1000, "images": [], "more": {"a": None}}) + "\n")
    return Case(at / "reviews.jsonl.gz", text_ids())


@case
def json_with_integers_and_text_numbers(at: Path) -> Case:
    with open(at / "log.json", "w") as file:
        file.write("\ufeff")
        for number, row in enumerate(ratings().itertuples()):
            stars = str(row.rating) if number % 7 else row.rating
            file.write(json.dumps({"user": row.user, "item": row.movie, "stars": stars, "ts": row.time}) + "\n\n")
    return Case(at / "log.json", ratings())


@case
def json_with_digits_as_text(at: Path) -> Case:
    table = digits_as_text()
    (at / "log.ndjson").write_text(table.to_json(orient="records", lines=True))
    return Case(at / "log.ndjson", table)


@case
def netflix(at: Path) -> Case:
    days_of = pd.to_datetime(ratings().time, unit="s").dt.strftime("%Y-%m-%d")
    for part, chosen in (("1", ratings().movie < 20), ("2", ratings().movie >= 20)):
        with open(at / f"combined_data_{part}.txt", "w", newline="") as file:
            for movie, group in ratings()[chosen].groupby("movie"):
                file.write(f"{movie}:\r\n" if movie % 2 else f"{movie}:\n\n")
                file.writelines(f"{row.user},{row.rating:.0f},{days_of[row.Index]}\n" for row in group.itertuples())
    titles = "".join(f"{row.movie},1999,{row.title}\n" for row in movies().itertuples())
    (at / "movie_titles.csv").write_text(titles, encoding="latin-1")
    return Case(at, days())


@case
def ml_100k(at: Path) -> Case:
    ratings().astype({"rating": int}).to_csv(at / "u.data", sep="\t", header=False, index=False)
    with open(at / "u.item", "w", encoding="latin-1") as file:
        for row in movies().itertuples():
            flags = ["0"] * 19
            for flag in (5, 8) if "Comedy" in row.genres else (1,):
                flags[flag] = "1"
            file.write("|".join([str(row.movie), row.title, "01-Jan-1995", "", "http://x/", *flags]) + "\n")
    (at / "u.user").write_text("1|24|M|technician|85711\n")
    return Case(at, ratings(), titles=True)


@case
def recbole(at: Path) -> Case:
    typed = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    ratings().set_axis(typed, axis=1).to_csv(at / "films.inter", sep="\t", index=False)
    names = {"movie": "item_id:token", "title": "movie_title:token_seq", "genres": "class:token_seq"}
    table = movies().assign(genres=movies().genres.str.replace("|", " ")).rename(columns=names)
    table.to_csv(at / "films.item", sep="\t", index=False)
    return Case(at, ratings(), titles=True)


@case
def recbole_with_named_columns(at: Path) -> Case:
    typed = ["watcher:token", "item_id:token", "rating:float", "timestamp:float"]
    ratings().set_axis(typed, axis=1).to_csv(at / "films.inter", sep="\t", index=False)
    return Case(at / "films.inter", ratings(), {"user_column": "watcher"})


@case
def float_ids(at: Path) -> Case:
    ratings().astype({"user": float, "movie": float}).to_csv(at / "ratings.csv", index=False)
    movies().astype({"movie": float}).to_csv(at / "movies.csv", index=False)
    return Case(at, ratings(), titles=True)


@case
def float_ids_beside_integers(at: Path) -> Case:
    floats = ratings().astype({"user": float, "movie": float})
    floats[:300].to_csv(at / "a.csv", index=False)
    ratings()[300:600].to_csv(at / "b.csv", index=False)
    floats[600:].to_parquet(at / "c.parquet")
    movies().to_csv(at / "movies.csv", index=False)
    return Case(at, ratings(), titles=True)


@case
def float_ids_with_grouplens_names(at: Path) -> Case:
    table = ratings().astype({"user": float, "movie": float}).rename(columns={"user": "userId", "movie": "movieId"})
    table.to_csv(at / "ratings.csv", index=False)
    return Case(at, ratings(), {"rating_scale": "1 5"})


@case
def blank_after_the_comma(at: Path) -> Case:
    rows = [", ".join(NAMES), *(f"{u}, {m}, {r}, {t}" for u, m, r, t in ratings().itertuples(index=False))]
    (at / "ratings.csv").write_text("\n".join(rows))
    movies().to_csv(at / "movies.csv", index=False)
    return Case(at, ratings(), titles=True)


@case
def blanks_and_quotes(at: Path) -> Case:
    rows = ['"user" ,"movie", rating ,time ']
    rows += [f" {u}\t,m {m} ,  {r} , {t} " for u, m, r, t in ratings().itertuples(index=False)]
    (at / "a.csv").write_text("\n".join(rows))
    return Case(at / "a.csv", ratings().assign(movie="m " + ratings().movie.astype(str)))


@case
def times_in_units_that_differ(at: Path) -> Case:
    for number, factor in enumerate((1, 10**3, 10**6, 10**9)):
        part = ratings()[number * 225 : number * 225 + 225]
        part.assign(time=part.time * factor + factor // 2).to_csv(at / f"{number}.csv", index=False)
    return Case(at, ratings())


@case
def times_in_parquet_of_nanoseconds(at: Path) -> Case:
    ratings().assign(time=ratings().time * 10**9).to_parquet(at / "ratings.parquet")
    return Case(at, ratings())


@case
def times_in_floats_of_milliseconds(at: Path) -> Case:
    ratings().assign(time=ratings().time * 1e3 + 0.5).to_csv(at / "a.csv", index=False)
    return Case(at / "a.csv", ratings())


@case
def dates_as_numbers(at: Path) -> Case:
    ratings().assign(time=pd.to_datetime(ratings().time, unit="s").dt.strftime("%Y%m%d")).to_csv(at / "a.csv")
    return Case(at / "a.csv", days())


@case
def title_column_of_another_name(at: Path) -> Case:
    ratings().to_csv(at / "ratings.csv", index=False)
    movies().rename(columns={"title": "Book-Title"}).to_csv(at / "books.csv", index=False)
    return Case(at / "ratings.csv", ratings(), {"movies": at / "books.csv"}, titles=True)


@case
def movies_in_json_with_lists_of_genres(at: Path) -> Case:
    ratings().to_csv(at / "ratings.csv", index=False)
    table = movies().rename(columns={"movie": "item_id", "title": "product_title"})
    table.assign(genres=table.genres.str.split("|")).to_json(at / "m.jsonl", orient="records", lines=True)
    return Case(at / "ratings.csv", ratings(), {"movies": at / "m.jsonl"}, titles=True)


@case
def movies_without_a_header(at: Path) -> Case:
    ratings().to_csv(at / "ratings.csv", index=False)
    movies().assign(year=1999)[["title", "year", "movie", "genres"]].to_csv(
        at / "movies.csv", index=False, header=False
    )
    return Case(at, ratings(), {"movies_columns": "title,-,movie,genres"}, titles=True)


@case
def digits_among_text_ids(at: Path) -> Case:
    def mixed(numbers: pd.Series, letter: str) -> list[str]:
        return [f"{letter}{number}" if number % 2 else f"{number:06}" for number in numbers]

    table = ratings().assign(user=mixed(ratings().user, "u"), movie=mixed(ratings().movie, "m"))
    table.to_csv(at / "ratings.csv", index=False)
    return Case(at, table)


@case
def leading_zeros_with_grouplens_names(at: Path) -> Case:
    table = ratings().assign(user=ratings().user.astype(str).str.zfill(8))
    table.rename(columns={"user": "userId", "movie": "movieId"}).to_csv(at / "ratings.csv", index=False)
    return Case(at, table, {"rating_scale": "1 5"})


@case
def clicks(at: Path) -> Case:
    ratings().drop(columns="rating").to_csv(at / "clicks.csv", index=False)
    return Case(at / "clicks.csv", ratings().assign(rating=1.0), {"implicit": True})


@case
def plays_in_json(at: Path) -> Case:
    table = ratings().drop(columns=["rating", "time"]).assign(plays=3)
    (at / "plays.jsonl").write_text(table.to_json(orient="records", lines=True))
    return Case(at / "plays.jsonl", ratings().drop(columns="time").assign(rating=1.0), {"implicit": True})


@case
def text_ids_in_parquet(at: Path) -> Case:
    digits_as_text().to_parquet(at / "ratings.parquet", row_group_size=100)
    return Case(at, digits_as_text())


@case
def text_ids_in_parquet_and_csv(at: Path) -> Case:
    digits_as_text()[:500].astype({"movie": "category"}).to_parquet(at / "a.parquet")
    digits_as_text()[500:].to_csv(at / "b.csv", index=False)
    return Case(at, digits_as_text())


@case
def text_ids_by_option(at: Path) -> Case:
    ratings().to_csv(at / "ratings.csv", index=False)
    movies().to_csv(at / "movies.csv", index=False)
    return Case(at, digits_as_text(), {"ids": "text"}, titles=True)


@case
def bytes_ids_in_parquet(at: Path) -> Case:
    columns = {name: [str(value).encode() for value in ratings()[name]] for name in ("user", "movie")}
    pq.write_table(pa.table(columns | {"rating": ratings().rating.astype(int)}), at / "ratings.parquet")
    return Case(at, digits_as_text().drop(columns="time"))


@case
def hive_directories(at: Path) -> Case:
    years = pd.to_datetime(ratings().time, unit="s").dt.year
    for (year, odd), group in ratings().groupby([years, ratings().user % 2]):
        place = at / f"year={year}" / f"odd={odd}"
        place.mkdir(parents=True)
        group.to_parquet(place / "part-0.parquet", index=False)
    (at / "_SUCCESS").touch()
    movies().to_csv(at / "movies.csv", index=False)
    return Case(at, ratings(), titles=True)


@case
def hive_directories_of_a_column_that_is_read(at: Path) -> Case:
    for stars, group in ratings().groupby("rating"):
        (at / f"rating={stars:g}").mkdir()
        group.drop(columns="rating").to_csv(at / f"rating={stars:g}" / "part-0.csv", index=False)
    return Case(at, ratings())


@case
def hive_directories_of_days_in_a_directory_of_spark(at: Path) -> Case:
    months = pd.to_datetime(ratings().time, unit="s").dt.strftime("%Y-%m-01")
    for date, group in ratings().groupby(months + " 00%3A00%3A00"):
        place = at / "user=nobody.parquet" / f"date={date}"
        place.mkdir(parents=True)
        group.drop(columns="time").rename(columns={"user": "uid"}).to_parquet(place / "part-0.parquet")
    return Case(at, ratings().assign(time=(pd.to_datetime(months) - pd.Timestamp(0)) // pd.Timedelta(seconds=1)))


@case
def decimals_in_parquet(at: Path) -> Case:
    columns = {name: pa.array(ratings()[name]).cast(pa.decimal128(22, 2)) for name in ("user", "movie", "rating")}
    columns["time"] = pa.array(ratings()["time"]).cast(pa.decimal128(20, 0))
    pq.write_table(pa.table(columns), at / "a.parquet")
    return Case(at / "a.parquet", ratings())


@case
def times_with_an_offset(at: Path) -> Case:
    stamps = pd.to_datetime(ratings().time, unit="s", utc=True).dt.tz_convert("America/Bogota")
    ratings().assign(time=stamps.map(pd.Timestamp.isoformat)).to_csv(at / "a.csv", index=False)
    return Case(at / "a.csv", ratings())


@case
def times_with_and_without_an_offset(at: Path) -> Case:
    stamps = pd.to_datetime(ratings().time, unit="s", utc=True)
    forms = ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", " %Y-%m-%d %H:%M:%S UTC", "%Y-%m-%dT%H:%M:%S.250+00:00"]
    times = [stamp.strftime(forms[number % 4]) for number, stamp in enumerate(stamps)]
    ratings().assign(time=times).to_csv(at / "a.csv", index=False)
    return Case(at / "a.csv", ratings())


@case
def times_as_text_in_parquet(at: Path) -> Case:
    stamps = pd.to_datetime(ratings().time, unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    ratings().assign(time=stamps).to_parquet(at / "ratings.parquet")
    return Case(at, ratings())


@case
def times_with_a_zone_in_parquet(at: Path) -> Case:
    stamps = pd.to_datetime(ratings().time, unit="s", utc=True).dt.tz_convert("Asia/Kolkata")
    ratings().assign(time=stamps).to_parquet(at / "ratings.parquet")
    return Case(at, ratings())


@case
def codes_of_not_rated(at: Path) -> Case:
    extra = ratings()[:200].assign(movie=lambda table: table.movie + 1000)
    extra["rating"] = np.where(np.arange(200) % 2, 99.0, -1.0)
    pd.concat([ratings(), extra]).sample(frac=1, random_state=0).to_csv(at / "a.csv", index=False)
    # Rows are shuffled, and no pair occurs twice.
    return Case(at / "a.csv", ratings(), {"not_rated": ["99", "-1"]})


@case
def a_byte_order_mark_and_blank_lines(at: Path) -> Case:
    (at / "ratings.csv").write_text("\ufeff\n\n" + ratings().to_csv(index=False).replace("\n", "\r\n\r\n"))
    return Case(at, ratings())
