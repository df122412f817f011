"""Checkpoints whose checksums are right and whose contents are not: one line, before anything is loaded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.load import load_run
from gnnrec.training.checkpoint.info import DESCRIPTION, checkpoints, find_checkpoint, read_info
from gnnrec.utils import files
from tests.training.runs import config_of, run

pytestmark = pytest.mark.slow

Tensors = dict[str, torch.Tensor]


def configured(dataset, directory: Path):
    """Two epochs, one checkpoint besides the best, and interest."""
    return config_of(dataset, directory, optimizer={"epochs": 2}, checkpoint={"keep": 1}, interest={})


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("contents") / "run"
    run(configured(dataset, directory))
    return directory


@pytest.fixture
def copy(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def rewrite(checkpoint: Path, stem: str, change: Callable[[Tensors], object]) -> Path:
    """Changes the tensors of a file, and its checksum with them."""
    info = read_info(checkpoint)
    (name,) = [name for name in info.files if name.startswith(stem)]
    tensors = torch.load(checkpoint / name, weights_only=True)
    changed = change(tensors)
    torch.save(tensors if changed is None else changed, checkpoint / name)
    info.files[name] = files.sha256(checkpoint / name)
    (checkpoint / DESCRIPTION).write_text(info.text())
    return checkpoint / name


def first(tensors: Tensors) -> str:
    return max(tensors, key=lambda name: tensors[name].numel())


def replaced(function: Callable[[torch.Tensor], object]) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[first(tensors)] = function(tensors[first(tensors)])

    return change


CHANGES: dict[str, Callable[[Tensors], object]] = {
    "fewer rows": replaced(lambda tensor: tensor[:-1].clone()),
    "more columns": replaced(lambda tensor: torch.cat([tensor, tensor], -1)),
    "transposed": replaced(lambda tensor: tensor.T.contiguous()),
    "no dimensions": replaced(lambda tensor: tensor.sum()),
    "integers": replaced(lambda tensor: tensor.long()),
    "float64": replaced(lambda tensor: tensor.double()),
    "sparse": replaced(lambda tensor: tensor.to_sparse()),
    "without memory": replaced(lambda tensor: tensor.to("meta")),
    "a number": replaced(lambda tensor: 3),
    "a missing name": lambda tensors: tensors.pop(first(tensors)) is None or None,
    "a surplus name": lambda tensors: tensors.update(another=torch.zeros(3)),
    "a list": lambda tensors: [*tensors.values()],
    "nothing": lambda tensors: {},
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("stem", ["model", "users-"])
def test_a_run_is_not_opened(copy, stem, name):
    path = rewrite(find_checkpoint(copy, "best"), stem, CHANGES[name])
    with pytest.raises(UserError, match="use another checkpoint|does not fit the model") as problem:
        loaded = load_run(copy, World())
        loaded.embed()
    assert path.name in str(problem.value) and "\n" not in str(problem.value)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("stem", ["model", "users-", "optimizer", "users_optimizer-"])
def test_a_run_is_not_resumed(dataset, copy, stem, name):
    (copy / "summary.json").unlink()
    rewrite(find_checkpoint(copy, "last"), stem, CHANGES[name])
    with pytest.raises(UserError) as problem:
        run(configured(dataset, copy))
    assert "step-" in str(problem.value) and "\n" not in str(problem.value)


@pytest.mark.parametrize("name", ["fewer rows", "float64", "transposed", "a missing name", "nothing"])
def test_interest_of_another_shape_is_refused(copy, name):
    rewrite(find_checkpoint(copy, "best"), "interest", CHANGES[name])
    with pytest.raises(UserError, match=r"interest\.pt does not fit the model"):
        load_run(copy, World()).encoder(100)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(train_state={}),
        lambda values: values["train_state"].update(totals={"loss": [1, 2, 3]}),
        lambda values: values["train_state"].update(another=1),
        lambda values: values.update(step="7"),
        lambda values: values.update(files=["model.pt"]),
        lambda values: values.update(config=None),
    ],
)
def test_a_description_of_other_values_is_one_line(dataset, copy, change):
    (copy / "summary.json").unlink()
    checkpoint = find_checkpoint(copy, "last")
    info = read_info(checkpoint)
    values = {name: getattr(info, name) for name in info.__dataclass_fields__}
    change(values)
    for name, value in values.items():
        setattr(info, name, value)
    (checkpoint / DESCRIPTION).write_text(info.text())
    with pytest.raises(UserError, match="damaged") as problem:
        run(configured(dataset, copy))
    assert str(checkpoint) in str(problem.value) and "\n" not in str(problem.value)


ODD = {
    "a directory": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a loop": lambda path: path.symlink_to(path.name),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("file", ["model.pt", "users-0000000000-0000000037.pt", DESCRIPTION])
def test_odd_files_in_a_checkpoint_are_named(dataset, copy, file, odd):
    path = find_checkpoint(copy, "best") / file
    path.unlink()
    ODD[odd](path)
    with pytest.raises(UserError, match=f"{path.name} (is|cannot)|is not a checkpoint"):
        load_run(copy, World())


@pytest.mark.parametrize("odd", ODD)
def test_odd_records_are_named(dataset, copy, odd):
    (copy / "summary.json").unlink()
    (copy / "metrics.jsonl").unlink()
    ODD[odd](copy / "metrics.jsonl")
    with pytest.raises(UserError, match=r"metrics\.jsonl (is|cannot).*move it away"):
        run(configured(dataset, copy))


def test_a_plain_file_is_no_checkpoint(dataset, copy):
    (copy / "summary.json").unlink()
    (copy / "checkpoints" / "step-0000009999").write_text("something else")
    summary = run(configured(dataset, copy))
    assert summary["steps"] == 6
    assert (copy / "checkpoints" / "step-0000009999").read_text() == "something else"


def test_an_opened_checkpoint_stays_whole_when_it_is_removed(copy):
    loaded = load_run(copy, World())
    expected = load_run(copy, World()).encoder(7).users(range(5, 20)).vector
    for checkpoint in checkpoints(copy, "best"):
        shutil.rmtree(checkpoint)
    actual = loaded.encoder(7)
    assert torch.equal(actual.users(range(5, 20)).vector, expected)
    assert np.isfinite(loaded.embed().user.numpy()).all()


def test_the_new_best_weights_are_opened_when_they_replace_the_old_ones(copy, monkeypatch):
    """Training saves better weights between the first file that is read and the second."""
    from gnnrec.training.checkpoint import opened

    old = find_checkpoint(copy, "best")
    new, original, calls = old.with_name("best-0000009999"), opened.load_tensors, []

    def load(path: Path, **options):
        calls.append(path)
        if len(calls) == 1:
            old.rename(new)
            info = read_info(new)
            info.epoch += 1
            (new / DESCRIPTION).write_text(info.text())
        return original(path, **options)

    monkeypatch.setattr(opened, "load_tensors", load)
    loaded = load_run(copy, World())
    assert loaded.directory == new and len(calls) > 1
    assert json.loads((new / DESCRIPTION).read_text())["step"] == loaded.info.step
