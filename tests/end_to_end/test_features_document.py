"""The Python code of docs/features.md runs, and its table has all kinds of columns."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.data.features.types_option import DROP, KINDS
from gnnrec.data.prepare_options import PrepareOptions
from tests.end_to_end.commands import ROOT

TEXT = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_code_runs(tmp_path: Path, monkeypatch, capsys):
    run_command(["synth", str(tmp_path), "--users", "120", "--movies", "60", "--ratings", "3000", "--overwrite"])
    ratings = pd.read_csv(tmp_path / "ratings.csv")
    number = pd.Series(ratings["userId"].unique())
    pd.DataFrame({"userId": number, "age": number % 50, "job": number % 3}).to_csv(tmp_path / "users.csv", index=False)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE):
        exec(block, names)
    printed, movies = capsys.readouterr().out, names["movies"]
    assert "genres list (60," in printed and movies.node == "movie"
    assert names["graph"]["movie"].x.tolist() == movies.x.tolist()
    assert sorted(names["new"].x.tolist()) == sorted(movies.x.tolist())


def test_the_table_has_all_kinds():
    table = TEXT.split("| Kind | Values in the file |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [*KINDS, DROP]


def test_defaults_are_those_of_the_options():
    options = PrepareOptions()
    assert (
        f"`--feature-count` ({options.feature_count})" in TEXT and f"`--feature-dims` ({options.feature_dims})" in TEXT
    )
