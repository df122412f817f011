"""``gnnrec evaluate --against``: differences of two runs on the same split."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gnnrec.cli.main import run_command
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.evaluate import EvaluateOptions, evaluate
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Two rating runs with lists and a ranking run on one dataset, and a rating run on another split."""
    at = tmp_path_factory.mktemp("against")
    data = write_dataset(at / "one", users=60, movies=30, ratings=900, test=0.2).directory
    other = write_dataset(at / "two", users=60, movies=30, ratings=900, test=0.2, seed=5).directory
    for name, directory, options in (
        ("first", data, {"interest": {}}),
        ("second", data, {"interest": {}, "seed": 1, "optimizer": {"epochs": 4, "lr": 0.1}}),
        ("ranking", data, {"objective": "ranking", "ranking": {"dim": 4}}),
        ("elsewhere", other, {}),
        ("all", data, {"refit": "all"}),
    ):
        train(make_config(directory, at / name, **options), World())
    return at


def test_the_table_has_both_runs_and_intervals(place, capsys):
    values = {name: evaluate(place / name, EvaluateOptions(), World())["test"] for name in ("first", "second")}
    capsys.readouterr()
    run_command(["evaluate", str(place / "first"), "--against", str(place / "second"), "--device", "cpu"])
    lines = capsys.readouterr().out.splitlines()
    tables = [number for number, line in enumerate(lines) if line.startswith(("test: ", "lists: "))]
    assert len(tables) == 2 and "95% intervals" in lines[tables[0]]
    for start, part, metrics in ((tables[0], 0, ("rmse", "mae")), (tables[1], 1, ("recall@20", "ndcg@100"))):
        rows = {line.split()[0]: line.split() for line in lines[start + 2 :] if line}
        for metric in metrics:
            first, second = (values[name][part].figures()[metric] for name in ("first", "second"))
            _, own, other, difference, low, _, high = rows[metric]
            assert (float(own), float(other)) == pytest.approx((first, second), abs=6e-5)
            assert float(difference) == pytest.approx(first - second, abs=6e-5)
            assert float(low) <= float(difference) <= float(high)


def test_a_run_does_not_differ_from_itself(place, capsys):
    run_command(["evaluate", str(place / "ranking"), "--against", str(place / "ranking"), "--device", "cpu"])
    lines = capsys.readouterr().out.splitlines()
    assert sum("+0.0000  +0.0000 to +0.0000" in line for line in lines) == 5


def test_the_dataset_may_have_moved(place, tmp_path):
    shutil.copytree(place / "one" / "prepared", tmp_path / "moved")
    options = EvaluateOptions(against=place / "second", data=tmp_path / "moved", resamples=100)
    assert "test" in evaluate(place / "first", options, World())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            "elsewhere",
            "--against .*elsewhere: that run was trained on another prepared dataset than .*on the same split",
        ),
        ("ranking", "that run has the objective ranking, and its metrics are not those of rating"),
        ("all", "--against .*all: .*: compare with a run that has some"),
        ("nowhere", "nowhere"),
    ],
)
def test_other_runs_are_refused_in_one_line(place, other, message):
    with pytest.raises(UserError, match=message) as caught:
        evaluate(place / "first", EvaluateOptions(against=place / other), World())
    assert "\n" not in str(caught.value)


def test_lists_on_other_users_have_no_differences(place, monkeypatch, capsys):
    monkeypatch.setattr("gnnrec.evaluation.lists.MEASURED_USERS", 20)
    evaluate(place / "first", EvaluateOptions(against=place / "second"), World())
    printed = capsys.readouterr().out
    assert "lists: the runs were measured on different users" in printed and "test: " in printed
