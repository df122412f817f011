"""A layer in a user's own file trains, resumes and exports like one of the package, and mistakes in it are named."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from gnnrec.cli.main import run_command
from gnnrec.config.train_config import TrainConfig, parse_train_config, read_train_config
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.load import load_run
from gnnrec.models import layers
from gnnrec.models.layer_file import read_builder
from gnnrec.training.run import train
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

DOCUMENT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
LAYER = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)[0]
STEPS = ["--max-steps=2", "--loader.folds=3", "--model.dim=8", "--model.layers=2", "--model.dropout=0", "--device=cpu"]


def configure(data: Path, run: Path, architecture: str, *words: str) -> TrainConfig:
    options = [f"--data={data}", f"--run-dir={run}", f"--model.architecture={architecture}"]
    return parse_train_config([*options, *STEPS, "--baselines=false", "--wandb.mode=disabled", *words])


def train_on(world: World, config: TrainConfig) -> dict:
    return train(config, world)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data").directory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "my_layers.py").write_text(LAYER)
    return tmp_path / "my_layers.py"


def exported(run: Path, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    run_command(["export", str(run), "--out", str(out), "--device", "cpu"])
    return pd.read_parquet(out / "users"), pd.read_parquet(out / "movies")


@pytest.mark.slow
def test_it_trains_and_exports_as_the_same_layer_of_the_package(data, file, tmp_path, monkeypatch):
    place = tmp_path / "package"
    place.mkdir()
    (place / "shrunk.py").write_text(LAYER)
    monkeypatch.setattr(layers, "__path__", [*layers.__path__, str(place)])
    importlib.invalidate_caches()
    built_in = train(configure(data, tmp_path / "built_in", "shrunk"), World())
    own = train(configure(data, tmp_path / "own", f"{file}:ShrunkMeanConv"), World())
    assert (own["steps"], own["test_rmse"]) == (2, built_in["test_rmse"])
    file.write_text("raise RuntimeError('the run has a copy')")
    ours, theirs = exported(tmp_path / "own", tmp_path / "a"), exported(tmp_path / "built_in", tmp_path / "b")
    for table, other in zip(ours, theirs):
        assert len(table) > 10
        pd.testing.assert_frame_equal(table, other)
    monkeypatch.delitem(sys.modules, "gnnrec.models.layers.shrunk")
    monkeypatch.delattr(layers, "shrunk")


@pytest.mark.slow
def test_two_ranks_train_what_one_does(data, file, tmp_path):
    summaries, movies = [], []
    for ranks in (1, 2):
        run = tmp_path / f"run{ranks}"
        summaries.append(run_on_ranks(ranks, train_on, configure(data, run, f"{file}:ShrunkMeanConv"))[0])
        movies.append(load_run(run, World()).embed().movie)
    assert summaries[1]["world_size"] == 2
    assert summaries[0]["test_rmse"] == pytest.approx(summaries[1]["test_rmse"], rel=1e-5)
    torch.testing.assert_close(*movies, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_run_keeps_the_layer_that_it_was_trained_with(data, file, tmp_path, capsys):
    run, name = tmp_path / "run", f"{file}:build"
    train(configure(data, run, name), World())
    assert read_train_config(run / "config.yaml").model.architecture == name
    assert (run / "layer.py").read_text() == LAYER and "sha256" in (run / "layer.json").read_text()
    before = load_run(run, World()).embed().movie
    file.write_text("an edit that is not finished")
    torch.testing.assert_close(load_run(run, World()).embed().movie, before, rtol=0, atol=0)
    (run / "summary.json").unlink()  # as if it had been interrupted
    capsys.readouterr()
    train(configure(data, run, name, "--resume=auto"), World())
    assert f"warning: {name} has changed: the run continues with its copy" in capsys.readouterr().err
    file.unlink()
    load_run(run, World())
    (run / "layer.py").write_text("another layer")
    with pytest.raises(UserError, match=r"layer\.py is not the layer that the run was trained with"):
        load_run(run, World())


MINIMAL = "from gnnrec.models.conv import BipartiteConv\n"
MISTAKES = {
    "missing.py:Conv": (None, "missing.py cannot be read (No such file or directory)"),
    "a.py": ("", "write FILE.py:NAME"),
    "a.py:": ("", "write FILE.py:NAME"),
    "b.py:Conv": ("x = 1\n", "b.py has no Conv"),
    "c.py:Conv": ("class Conv:\n    pass\n", "Conv is not a layer: derive it from gnnrec.models.conv.BipartiteConv"),
    "d.py:Conv": ("import no_such_package\n", "d.py cannot be imported (ModuleNotFoundError: No module named"),
    "e.py:Conv": ("def f(:\n", "e.py cannot be imported (SyntaxError"),
    "f.py:Conv": (MINIMAL + "class Conv(BipartiteConv):\n    pass\n", "has a function build(options, spec): add one"),
    "g.py:Conv": ("Conv = 3\n", "Conv is neither a class nor a function"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named_before_anything_is_written(data, tmp_path, monkeypatch, name: str):
    monkeypatch.chdir(tmp_path)
    content, says = MISTAKES[name]
    if content is not None:
        Path(name.partition(":")[0]).write_text(content)
    with pytest.raises(UserError) as caught:
        train(configure(data, tmp_path / "run", name), World())
    said = str(caught.value)
    assert said.startswith(f"--model.architecture {name}: ") and says in said and "\n" not in said
    assert not (tmp_path / "run").exists()


def test_a_build_function_that_returns_something_else(tmp_path):
    (tmp_path / "h.py").write_text("def build(options, spec):\n    return 3\n")
    with pytest.raises(UserError, match=r"build\(options, spec\) returns a int: return a BipartiteConv"):
        read_builder(f"{tmp_path / 'h.py'}:build")(None, None)


def test_a_class_may_build_itself(tmp_path):
    text = MINIMAL + (
        "class Conv(BipartiteConv):\n"
        "    @classmethod\n"
        "    def build(cls, options, spec):\n"
        "        return cls(None, 4)\n"
        "def build(options, spec):\n"
        "    raise AssertionError\n"
    )
    (tmp_path / "i.py").write_text(text)
    layer = read_builder(f"{tmp_path / 'i.py'}:Conv")(None, None)
    assert (type(layer).__name__, layer.out_channels) == ("Conv", 4)
