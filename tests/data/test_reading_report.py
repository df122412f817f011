"""``gnnrec prepare`` prints how it has understood its files, and warns about what is probably a mistake."""

from __future__ import annotations

import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.data.out_of_core import prepare as out_of_core
from gnnrec.data.out_of_core.size import Plan
from tests.data.file_cases import CASES
from tests.data.file_tables import movies, ratings

ENGINES = ["memory", "stream", "dry run"]


@pytest.fixture(params=ENGINES)
def report(request, tmp_path, monkeypatch, capsys):
    """A function that prepares files, or reads their first rows, and returns the output and the warnings."""
    monkeypatch.setattr(out_of_core, "plan", lambda layouts, options: Plan(300, 1))

    def prepare(path, **options) -> tuple[str, str]:
        words = ["prepare", str(tmp_path / "out"), "--ratings", str(path), "--shards", "4", "--overwrite"]
        words += ["--dry-run"] if request.param == "dry run" else ["--engine", request.param]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", *(value if isinstance(value, list) else [str(value)])]
        capsys.readouterr()
        run_command(words)
        assert (tmp_path / "out").exists() == (request.param != "dry run")
        printed = capsys.readouterr()
        return printed.out, printed.err

    return prepare


def case_report(name: str, report, tmp_path) -> tuple[str, str]:
    (tmp_path / "in").mkdir()
    case = CASES[name](tmp_path / "in")
    return report(case.path, **case.options)


def days_of(table: pd.DataFrame) -> str:
    days = pd.to_datetime(table["time"], unit="s").dt.strftime("%Y-%m-%d")
    return f"{days.min()} to {days.max()}"


@pytest.mark.parametrize(
    "name, lines",
    [
        ("no_header", ["ratings.csv: CSV with commas, no header; user 'user': text; movie 'movie': text",
                       "rating 'rating': 1 to 5; time 'timestamp': seconds since 1970, DAYS"]),
        ("json_lines", ["reviews.jsonl.gz: JSON records; user 'user_id': text; movie 'parent_asin': text",
                        "time 'timestamp': milliseconds since 1970, DAYS", "no movies file: titles are ids"]),
        ("recbole", ["films.inter: CSV with tabs; user 'user_id:token': integers",
                     "titles of 40 of 40 movies (films.item)"]),
        ("times_in_units_that_differ", ["0.csv and 3 more: CSV with commas", "microseconds since 1970, millisec",
                                        "nanoseconds since 1970, seconds since 1970, DAYS"]),
        ("times_with_an_offset", ["time 'time': dates and times as text, DAYS"]),
        ("times_with_a_zone_in_parquet", ["ratings.parquet: Parquet; user 'user'", "'time': dates and times, DAYS"]),
        ("clicks", ["no ratings (--implicit); time 'time': seconds since 1970"]),
        ("codes_of_not_rated", ["rows left out (--not-rated)"]),
        ("json_with_digits_as_text", ["user 'user': text; movie 'movie': text"]),
        ("plays_in_json", ["no times"]),
    ],
)  # fmt: skip
def test_what_was_understood_is_printed(name, lines, report, tmp_path):
    printed, warned = case_report(name, report, tmp_path)
    for line in lines:
        assert line.replace("DAYS", days_of(ratings())) in printed
    assert warned == ""


def test_titles_are_counted(report, tmp_path):
    ratings().to_csv(tmp_path / "a.csv", index=False)
    movies()[:25].to_csv(tmp_path / "m.csv", index=False)
    printed, warned = report(tmp_path / "a.csv", movies=tmp_path / "m.csv")
    assert "titles of 25 of 40 movies (m.csv)" in printed and warned == ""
    movies().assign(movie=lambda table: "tt" + table.movie.astype(str)).to_csv(tmp_path / "m.csv", index=False)
    printed, warned = report(tmp_path / "a.csv", movies=tmp_path / "m.csv")
    assert "titles of 0 of 40 movies (m.csv)" in printed
    assert warned.startswith("warning: titles of 0 of 40 movies: no movie of m.csv has an id of the ratings, such as ")
    assert warned.count("\n") == 1


def test_ids_of_mixed_kinds_are_counted(report, tmp_path):
    few = ratings()["movie"] % 5 == 0
    table = ratings().astype({"movie": str})
    table["movie"] = table["movie"].where(~few, "m" + table["movie"])
    table.to_csv(tmp_path / "a.csv", index=False)
    printed, warned = report(tmp_path / "a.csv")
    assert "movie 'movie': text" in printed
    assert f"movie ids are of mixed kinds: {(~few).sum()} of 900 ratings have integers, the others ids such" in warned
    assert warned.count("\n") == 1 and report(tmp_path / "a.csv", ids="text")[1] == ""


@pytest.mark.parametrize("shift", [-3_000_000_000, 3_000_000_000])
def test_times_that_are_not_plausible_are_counted(report, tmp_path, shift):
    table = ratings()
    table.loc[:99, "time"] += shift
    table.to_csv(tmp_path / "a.csv", index=False)
    warned = report(tmp_path / "a.csv")[1]
    assert warned.startswith("warning: 100 of 900 times are outside 1970 to tomorrow: they range from ")
    assert days_of(table) in warned and "--timestamp-column" in warned and warned.count("\n") == 1


def test_a_dry_run_fails_like_prepare(tmp_path):
    ratings().drop(columns="rating").to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(Exception, match="pass --implicit"):
        run_command(["prepare", str(tmp_path / "out"), "--ratings", str(tmp_path / "a.csv"), "--dry-run"])
