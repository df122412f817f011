"""Chaos compares runs: a run that lost something is not taken for the undisturbed one."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks.chaos import MODES, plan
from benchmarks.chaos_checks import differences, unsound
from benchmarks.chaos_round import HURTS
from gnnrec.training.checkpoint.info import checkpoints
from tests.datasets import write_dataset
from tests.training.runs import config_of, run


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("chaos")
    run(config_of(write_dataset(directory / "data", test=0.1), directory / "run"))
    return directory / "run"


@pytest.fixture
def copy(calm, tmp_path) -> Path:
    return Path(shutil.copytree(calm, tmp_path / "run"))


@pytest.mark.slow
def test_a_copy_is_the_same(calm, copy):
    assert differences(calm, copy) == [] and unsound(copy) == []


def test_other_weights_are_found(calm, copy):
    path = checkpoints(copy, "step")[0] / "optimizer.pt"
    tensors = torch.load(path, weights_only=True)
    name = next(name for name, tensor in tensors.items() if tensor.dim())
    tensors[name].view(-1)[0] += 1e-7
    torch.save(tensors, path)
    assert differences(calm, copy) == [f"{path.parent.name}/optimizer.pt has other values"]
    assert unsound(copy) == [f"{path.parent.name} is not sound"]


def test_missing_records_scores_and_checkpoints_are_found(calm, copy):
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(lines[:-2] + lines[-1:]))
    summary = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps(summary | {"test_rmse": summary["test_rmse"] + 1e-9}))
    checkpoints(copy, "best")[0].rename(copy / "checkpoints" / "best-0000000001")
    (copy / "checkpoints" / ".step-0000000002.tmp").mkdir()
    found = "; ".join(differences(calm, copy))
    for words in ("last best checkpoint is best-0000000001", "metrics.jsonl", "test scores", ".tmp was left"):
        assert words in found


def test_every_place_and_every_way_has_its_share():
    kills = [kill for each in plan(36, list(MODES), 2, random.Random(0)).values() for kill in each]
    places, ways = ([getattr(kill, name) for kill in kills] for name in ("place", "way"))
    assert len(kills) == 36 and kills == [k for e in plan(36, list(MODES), 2, random.Random(0)).values() for k in e]
    for place in ("training", "validation", "saving", "summary", "export", "starting"):
        assert places.count(place) >= 3
    for way in HURTS:
        assert ways.count(way) >= 5
