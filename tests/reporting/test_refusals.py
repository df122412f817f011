"""Bad input raises one line before any work."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from gnnrec.cli.main import run_command
from gnnrec.errors import UserError


def refused(*arguments) -> str:
    """Returns the message."""
    with pytest.raises(UserError) as caught:
        run_command(["report", *map(str, arguments)])
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_not_a_run(tmp_path):
    assert "not a run directory" in refused(tmp_path / "nothing")


def test_no_run_at_all():
    assert "RUN is missing" in refused()


def test_negative_users(rating_run):
    assert refused(rating_run, "--users", -1).startswith("--users -1")


def test_several_runs_need_a_directory(rating_run, ranking_run):
    assert "--out" in refused(rating_run, ranking_run)


def test_the_same_run_twice(rating_run, tmp_path):
    assert "passed twice" in refused(rating_run, rating_run, "--out", tmp_path / "out")


def test_a_report_is_not_overwritten_by_default(rating_run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("old")
    assert "--overwrite" in refused(rating_run, "--out", tmp_path / "out")


def test_only_a_report_is_replaced(rating_run, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "is not replaced" in refused(rating_run, "--out", tmp_path, "--overwrite")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_dataset_is_missing(rating_run, tmp_path):
    assert "--data" in refused(rating_run, "--out", tmp_path / "out", "--data", tmp_path / "nothing")
    assert not (tmp_path / "out").exists()


def test_another_dataset(rating_run, ranking_run, tmp_path):
    line = refused(rating_run, "--out", tmp_path / "out", "--data", ranking_run.parent / "prepared")
    assert "not the dataset" in line and "--data" in line


def test_damaged_records(rating_run, tmp_path):
    shutil.copytree(rating_run, tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text("{")
    assert "summary.json is damaged" in refused(tmp_path / "run")


def test_on_many_ranks(rating_run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "without torchrun" in refused(rating_run)


@pytest.mark.parametrize("missing", ["altair", "vl_convert", "jinja2"])
def test_a_package_is_missing(rating_run, tmp_path, monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr("gnnrec.reporting.packages.find_spec", lambda name: None if name == missing else find(name))
    line = refused(rating_run, "--out", tmp_path / "out")
    assert line.endswith("pip install 'gnnrec[report]'")
