"""The commands in the table of docs/data.md read the files that they are for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.data.prepared import PreparedDataset
from tests.data.file_cases import CASES
from tests.data.file_tables import movies, ratings
from tests.end_to_end.commands import ROOT

DOCUMENT = ROOT / "docs" / "data.md"
ROWS = re.findall(r"^\| (.+) \| `(gnnrec prepare .+)` \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)


def csv(at: Path) -> None:
    ratings().to_csv(at / "ratings.csv", index=False)
    movies().to_csv(at / "movies.csv", index=False)


def movielens(at: Path) -> None:
    names = {"user": "userId", "movie": "movieId", "time": "timestamp"}
    ratings().rename(columns=names).to_csv(at / "ratings.csv", index=False)
    movies().rename(columns=names).to_csv(at / "movies.csv", index=False)


def codes(at: Path) -> None:
    extra = ratings()[:20].assign(movie=1000, rating=[99, -1] * 10)
    pd.concat([ratings(), extra]).to_csv(at / "ratings.csv", index=False)


#: Directory of a command's files -> what writes them.
FILES: dict[str, Callable] = {
    "csv": csv,
    "no-header": CASES["no_header"],
    "json": CASES["json_lines"],
    "parquet": CASES["text_ids_in_parquet"],
    "hive": CASES["hive_directories"],
    "movielens": movielens,
    "ml-100k": CASES["ml_100k"],
    "netflix": CASES["netflix"],
    "recbole": CASES["recbole"],
    "clicks": CASES["clicks"],
    "codes": codes,
}


def test_the_table_covers_all_kinds_of_files():
    assert len(ROWS) == len(FILES) and {command.split()[2] for _, command in ROWS} == {f"data/{name}" for name in FILES}


@pytest.mark.parametrize("kind, command", ROWS, ids=[command.split()[2] for _, command in ROWS])
def test_the_command_of_a_format_reads_all_ratings(kind, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    name = words[2].removeprefix("data/")
    Path(name).mkdir()
    FILES[name](Path(name))
    run_command([*words[1:], "--shards", "4"])
    data = PreparedDataset(words[2], verify=True)
    assert (data.num_users, data.num_movies, data.num_ratings) == (60, 40, 900)
    assert data.timestamp is not None
    expected = ratings()
    if name == "clicks":
        assert set(data.rating) == {1.0}
    else:
        assert float(data.rating.sum()) == expected["rating"].sum()
