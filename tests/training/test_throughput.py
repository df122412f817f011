"""Times of a run by purpose, against pauses of known length; gradient norms on any number of ranks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from benchmarks.steps import run_epoch
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.loader import RatingLoader
from gnnrec.training.checkpoint import manager
from gnnrec.training.ranking.trainer import RankingTrainer
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.run import train
from gnnrec.training.trainer import Trainer
from gnnrec.utils.timer import Timer
from tests.configs import SAMPLED, make_config
from tests.distributed.ranks import run_on_ranks
from tests.fake_time import FakeTime, share_time
from tests.training.runs import STEPS, config_of, run

#: Seconds of fake time; sums of them are exact.
PAUSE = 0.25


def test_a_timer_counts_nested_blocks_once(fake_time):
    timer = Timer()
    for _ in range(2):
        with timer, timer:
            fake_time.sleep(PAUSE)
    fake_time.sleep(PAUSE)
    assert timer.seconds == 2 * PAUSE


def paused(fake_time: FakeTime, method, pause: float = PAUSE):
    def slow(*arguments, **options):
        fake_time.sleep(pause)
        return method(*arguments, **options)

    return slow


def records(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_pauses_count_as_the_purpose_they_were_made_in(dataset, tmp_path, monkeypatch, fake_time):
    config = config_of(dataset, tmp_path / "run", checkpoint={"every_steps": 6}, max_steps=STEPS)
    monkeypatch.setattr(RatingLoader, "batch", paused(fake_time, RatingLoader.batch))
    monkeypatch.setattr(RatingTrainer, "forward_backward", paused(fake_time, RatingTrainer.forward_backward, 2 * PAUSE))
    monkeypatch.setattr(RatingTrainer, "validate", paused(fake_time, RatingTrainer.validate))
    writers = []

    class SlowWriter(manager.CheckpointWriter):
        def __init__(self, *arguments):
            fake_time.sleep(PAUSE)
            writers.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(manager, "CheckpointWriter", SlowWriter)
    summary = run(config)
    seconds, all_records = summary["seconds"], records(config.run_dir)
    assert seconds["sampling"] == PAUSE * STEPS and seconds["communication"] == 0
    assert seconds["compute"] == 2 * PAUSE * STEPS
    assert seconds["checkpoints"] == PAUSE * len(writers) and len(writers) > 4
    evaluations = [record["evaluation_seconds"] for record in all_records if "validation_rmse" in record]
    assert set(evaluations) == {PAUSE} and seconds["evaluation"] == sum(evaluations)
    steps = [record for record in all_records if "loss" in record]
    assert len(steps) == STEPS
    parts = ("sampling_seconds", "compute_seconds", "collective_seconds", "checkpoint_seconds")
    for record in steps:
        assert [record[part] for part in parts[:3]] == [PAUSE, 2 * PAUSE, 0]
        assert sum(record[part] for part in parts) == record["step_seconds"]
    whole = seconds["sampling"] + seconds["compute"] + sum(record["checkpoint_seconds"] for record in steps)
    assert whole == summary["training_seconds"]


def with_a_late_rank(world: World, data: str, run_dir: str) -> dict[str, float]:
    """Trains with a slow rank 1, in making batches, which calls collectives too, and in computing."""
    fake_time = FakeTime().install()
    share_time(fake_time)
    if world.rank == 1:
        for name in ("statistics", "batch"):
            setattr(RatingLoader, name, paused(fake_time, getattr(RatingLoader, name)))
        RatingTrainer.forward_backward = paused(fake_time, RatingTrainer.forward_backward, 2 * PAUSE)
    config = make_config(data, run_dir, device="cpu", log_every=1, loader=SAMPLED)
    return train(config, world)["seconds"]


@pytest.mark.slow
def test_waiting_for_others_is_communication(dataset, tmp_path):
    waiting, late = run_on_ranks(2, with_a_late_rank, str(dataset.directory), str(tmp_path / "run"))
    steps = records(tmp_path / "run")[-1]["step"]
    assert steps > 20
    # In each step rank 0 waits for rank 1 twice while a batch is made, which is not sampling time, and after it.
    assert (late["sampling"], late["compute"], late["communication"]) == (2 * PAUSE * steps, 2 * PAUSE * steps, 0)
    assert (waiting["sampling"], waiting["compute"], waiting["communication"]) == (0, 0, 4 * PAUSE * steps)


def gradient_norms(world: World, data: str, objective: str) -> list[float]:
    """Gradient norms that steps report, compared with torch's norms of all gradients of all ranks."""
    torch.set_default_dtype(torch.float64)
    options = {"ranking": {"dim": 4, "start": "random", "users_a_step": 9}} if objective == "ranking" else {}
    config = make_config(data, objective=objective, log_every=2, **options)
    kind = RankingTrainer if objective == "ranking" else RatingTrainer
    trainer: Trainer = kind(config, PreparedDataset(data), world)
    expected_norms = []
    update = trainer.update

    def recording_update(lr: float) -> None:
        norms = []
        for module in (trainer.replicated, trainer.users):
            gradients = [parameter.grad.flatten() for parameter in module.parameters() if parameter.grad is not None]
            joined = torch.cat(gradients) if gradients else torch.zeros(0)
            shares = world.all_gather_objects(joined)
            shares = shares[:1] if module is trainer.replicated else shares
            norms.append(float(torch.nn.utils.get_total_norm([torch.cat(shares)])))
        expected_norms.append(norms)
        update(lr)

    trainer.update = recording_update
    reported = [result.update.squared_gradient_norms for result in run_epoch(trainer, 0)][:4]
    torch.set_default_dtype(torch.float32)
    assert [squares is None for squares in reported] == [True, False, True, False][: len(reported)]
    norms = []
    for squares, expected in zip(reported, expected_norms):
        if squares is not None:
            user_square = world.all_reduce_sum_(squares[1:].clone())
            norms += [float(squares[0].sqrt()), float(user_square.sqrt())]
            assert norms[-2:] == pytest.approx(expected, rel=1e-9)
    return norms


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["rating", "ranking"])
def test_gradient_norms_do_not_depend_on_ranks(dataset, objective):
    data = str(dataset.directory)
    (one_rank,) = run_on_ranks(1, gradient_norms, data, objective)
    for norms in run_on_ranks(3, gradient_norms, data, objective):
        assert norms == pytest.approx(one_rank, rel=1e-9)
    assert min(one_rank[::2]) > 0 and (min(one_rank[1::2]) > 0) == (objective == "rating")


@pytest.mark.slow
def test_recorded_norms_are_those_of_the_summed_gradients(dataset, tmp_path):
    steps = {}
    for ranks in (1, 2):
        directory = tmp_path / str(ranks)
        config = dataclasses.replace(config_of(dataset, directory), max_steps=5, log_every=2)
        run_on_ranks(ranks, _train, config)
        steps[ranks] = [record for record in records(directory) if "loss" in record]
    for one_rank, two_ranks in zip(steps[1], steps[2], strict=True):
        for name in ("loss", "gradient_norm", "user_gradient_norm", "lr"):
            assert two_ranks[name] == pytest.approx(one_rank[name], rel=1e-4), name
    assert [record["step"] for record in steps[1]] == [2, 4]


def _train(world: World, config) -> None:
    train(config, world)
