"""A run that is stopped and resumed ends with the same numbers as an uninterrupted one."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch

from gnnrec.config.train_config import TrainConfig
from gnnrec.distributed.world import World
from gnnrec.errors import Stopped
from gnnrec.graph import pyg_sampler
from gnnrec.training.checkpoint.info import checkpoints, find_checkpoint, read_info
from gnnrec.training.run import train
from tests.configs import SAMPLED, make_config
from tests.datasets import with_random_features, write_dataset
from tests.distributed.ranks import run_on_ranks

pytestmark = pytest.mark.slow

EPOCHS, FOLDS = 3, 3
#: Fields of records that are measured, not computed.
CLOCK = re.compile("^time$|seconds?$|^memory_gib$|^collective_mib$")
needs_library = pytest.mark.skipif(pyg_sampler.sampling_library() is None, reason="needs pyg-lib or torch-sparse")


class StopAfter:
    """Asks for a stop when its code has been read this many times."""

    def __init__(self, reads: int):
        self.reads = reads

    def limit(self, minutes: float) -> None:
        pass

    @property
    def code(self) -> int:
        self.reads -= 1
        return signal.SIGTERM if self.reads < 0 else 0


def train_on_rank(world: World, config: TrainConfig, reads: int | None) -> dict | str:
    """The summary of a run, or the message of its stop."""
    torch.set_num_threads(1)
    # One rank is asked to stop, and all ranks must.
    stop = StopAfter(10**9 if reads is None or world.rank < world.size - 1 else reads)
    try:
        return train(config, dataclasses.replace(world, stop=stop))
    except Stopped as stopped:
        return str(stopped)


def run(config: TrainConfig, ranks: int = 1, reads: int | None = None) -> dict | str:
    return run_on_ranks(ranks, train_on_rank, config, reads)[0]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    plain = write_dataset(tmp_path_factory.mktemp("resume"), validation=0.15, test=0.15, shards=8)
    return with_random_features(plain)


MODES = {
    "full": {},
    "sampled": {"loader": SAMPLED, "model": {"layers": 2, "dropout": 0.2}},
    "gat": {"loader": SAMPLED, "model": {"architecture": "gat", "layers": 2}},
    "pyg": {"loader": SAMPLED | {"sampler": "pyg"}},
    "sgd": {"optimizer": {"name": "sgd"}, "loader": {"seed_users": 11}},
    "ranking": {"objective": "ranking", "ranking": {"dim": 4, "num_factors": 4, "users_a_step": 5}, "optimizer": {}},
}


def config_of(dataset, run_dir: Path, mode: str = "sampled", **options) -> TrainConfig:
    options = MODES[mode] | {"log_every": 2, "device": "cpu", "resume": "auto"} | options
    options["optimizer"] = {"epochs": EPOCHS} | options.get("optimizer", {})
    return make_config(dataset.directory, run_dir, **options)


def contents(checkpoint: Path) -> dict[str, dict]:
    return {path.name: torch.load(path, weights_only=True) for path in checkpoint.glob("*.pt")}


def merged(checkpoint: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, with the rows of all files of users."""
    parts_by_key: dict[str, list[torch.Tensor]] = {}
    for name, tensors in sorted(contents(checkpoint).items()):
        for key, tensor in tensors.items():
            parts_by_key.setdefault(f"{name.split('-')[0]}/{key}", []).append(tensor)
    return {key: torch.cat(parts) if parts[0].dim() else parts[0] for key, parts in parts_by_key.items()}


def learned(run_dir: Path) -> list[dict]:
    """Records without times and memory."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if not CLOCK.search(name)} for line in lines]


def scores(summary: dict) -> dict:
    return {name: value for name, value in summary.items() if name.startswith(("test", "validation", "best", "steps"))}


def assert_same_run(a: Path, b: Path) -> None:
    for name in ("best", "last"):
        first, second = (find_checkpoint(run_dir, name) for run_dir in (a, b))
        assert first.name == second.name
        # The errors of the lowest validation depend on whether the step was saved before its validation or after.
        first, second = (
            {file: tensors for file, tensors in contents(checkpoint).items() if not file.startswith("validation-")}
            for checkpoint in (first, second)
        )
        assert first.keys() == second.keys()
        for file, tensors in first.items():
            assert tensors.keys() == second[file].keys()
            for key, tensor in tensors.items():
                assert torch.equal(tensor, second[file][key]), f"{file} {key}"
    assert learned(a) == learned(b)


@pytest.mark.parametrize(
    ("mode", "ranks"),
    [*((mode, 1) for mode in MODES if mode != "pyg"), ("sampled", 2), pytest.param("pyg", 1, marks=needs_library)],
)
def test_stops_change_nothing(dataset, tmp_path, mode, ranks):
    uninterrupted = run(config_of(dataset, tmp_path / "a", mode), ranks)
    config = config_of(dataset, tmp_path / "b", mode)
    stops = 0
    # Some stops come in validation or in the summary. Each comes later than the last one, so that the run finishes.
    while isinstance(result := run(config, ranks, reads=2 + stops), str):
        assert result.startswith("by SIGTERM, ") and "--resume auto" in result
        assert (config.run_dir / "stopped.json").exists() and not (config.run_dir / "summary.json").exists()
        stops += 1
        assert stops < 60
    assert stops >= 2
    assert scores(result) == scores(uninterrupted)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert not (config.run_dir / "stopped.json").exists()


@pytest.mark.parametrize("mode", ["sampled", "ranking"])
def test_another_number_of_ranks_resumes_with_the_same_numbers(dataset, tmp_path, mode):
    options = {"validate_every": 0}
    if mode == "ranking":
        options["ranking"] = MODES[mode]["ranking"] | {"start": "random"}
    config = config_of(dataset, tmp_path / "b", mode, **options)
    for ranks, reads in ((4, 2), (2, 2)):
        assert isinstance(run(config, ranks, reads), str)
        info = read_info(find_checkpoint(config.run_dir, "last"))
        assert info.world_size == ranks and 0 < info.step
    summary = run(config, 3)
    uninterrupted = run(config_of(dataset, tmp_path / "a", mode, **options), 4)
    for name, value in scores(uninterrupted).items():
        assert summary[name] == pytest.approx(value, rel=1e-4), name
    first, second = (merged(find_checkpoint(tmp_path / name, "last")) for name in "ab")
    assert first.keys() == second.keys()
    for key, tensor in first.items():
        torch.testing.assert_close(second[key], tensor, rtol=2e-3, atol=2e-5, msg=key)
    losses = [[record["loss"] for record in learned(tmp_path / name) if "loss" in record] for name in "ab"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_every_step_can_be_resumed_from(dataset, tmp_path):
    config = config_of(dataset, tmp_path / "a", checkpoint={"every_steps": 1, "keep": 1000})
    run(config)
    saved = checkpoints(config.run_dir, "step")
    assert len(saved) == read_info(saved[0]).step
    for checkpoint in saved[1::4]:
        again = config_of(dataset, tmp_path / checkpoint.name, resume=checkpoint.name)
        copy_run(config.run_dir, again.run_dir)
        run(again)
        assert_same_run(tmp_path / "a", again.run_dir)


def copy_run(run_dir: Path, copy: Path) -> None:
    """Copies a run without its summary, as before its end."""
    shutil.copytree(run_dir, copy)
    (copy / "summary.json").unlink()
