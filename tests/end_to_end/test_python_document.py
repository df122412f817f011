"""The Python code of docs/python.md runs, and the page has all public functions with their arguments."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pandas as pd
import pytest

import gnnrec
from gnnrec.cli.main import run_command
from tests.end_to_end.commands import ROOT

TEXT = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
FUNCTIONS = [name for name in gnnrec.__all__ if inspect.isfunction(getattr(gnnrec, name))]


@pytest.mark.slow
def test_the_code_runs(tmp_path: Path, monkeypatch, capsys):
    run_command(["synth", str(tmp_path / "synth"), "--users", "120", "--movies", "60", "--ratings", "3000"])
    for name in ("ratings.csv", "movies.csv"):
        (tmp_path / name).symlink_to(tmp_path / "synth" / name)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 12
    for block in blocks:
        exec(block, names)
    assert len(names["vectors"].users) == 120 and names["table"]["model"].tolist() == ["global mean", "biases"]
    rated = names["ratings"].query("userId == @names['user']")["movieId"]
    for order, values in (("both", "scores"), ("rating", "predicted")):
        best = gnnrec.recommend(names["out"], names["user"], top=1, order_by=order)["movie"].iloc[0]
        assert names[values].drop(rated).idxmax() == best
    assert "model.dim=wide: must be a whole number" in capsys.readouterr().out
    assert "stopped_early" in names["early"].summary and names["early"].config.optimizer.patience == 2
    assert names["served"].config.refit == "all" and "test_rmse" not in names["served"].summary
    assert names["live"].facts["new_ratings"]["ratings"] and (tmp_path / "live/python/000001/delta").is_dir()
    assert isinstance(names["run"].metrics, pd.DataFrame) and (tmp_path / "runs/python/report/report.html").exists()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_those_of_the_functions(name: str):
    match = re.search(rf"`{name}\(([^`]*)\)`", TEXT)
    assert match, f"{name} is missing"
    documented = [argument.split("=")[0] for argument in " ".join(match[1].split()).split(", ") if argument != "*"]
    parameters = inspect.signature(getattr(gnnrec, name)).parameters.values()
    assert documented == [
        ("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name for parameter in parameters
    ]


def test_the_page_names_everything_public():
    assert len(FUNCTIONS) == 12
    assert [name for name in gnnrec.__all__ if name not in TEXT and name != "__version__"] == []
