"""Training on all ratings (``--refit all``) gives the model of one rank on several, and no test metrics on any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.checkpoint.info import find_checkpoint
from gnnrec.training.checkpoint.read import load_checkpoint
from gnnrec.training.run import build_trainer, train
from gnnrec.training.summary import NO_TEST
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

# A fixture trains every scenario: one worker runs them all.
pytestmark = [pytest.mark.xdist_group("refit all on ranks"), pytest.mark.slow]

RANKING = {"dim": 6, "users_a_step": 11, "l2": 3.0, "num_factors": 6, "popularity_exponent": 0.4}
SCENARIOS = {
    "whole neighborhoods": {"model": {"layers": 2}},
    "sampled neighbors": {"loader": SAMPLED},
    "ranking": {"objective": "ranking", "ranking": RANKING},
}


def train_runs(world: World, data: str, place: str) -> dict[str, dict]:
    """Trains every scenario to its end; scenario -> summary."""
    torch.set_default_dtype(torch.float64)
    summaries = {
        # Adam divides a gradient by its size: epsilon is far above the rounding of sums.
        name: train(
            make_config(data, f"{place}/{name}", refit="all", log_every=1, optimizer={"eps": 1e-3}, **options), world
        )
        for name, options in SCENARIOS.items()
    }
    torch.set_default_dtype(torch.float32)
    return summaries


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("data"), test=0.2, shards=8)


@pytest.fixture(scope="module")
def summaries(dataset, tmp_path_factory) -> dict[int, list[dict]]:
    """Number of ranks -> what each rank returned; the summaries have ``place``, the directory of the runs."""
    runs = {}
    for ranks in (1, 2):
        place = str(tmp_path_factory.mktemp(f"ranks-{ranks}"))
        returned = run_on_ranks(ranks, train_runs, str(dataset.directory), place)
        runs[ranks] = [each | {"place": place} for each in returned]
    return runs


def weights(dataset: PreparedDataset, run: Path, options: dict) -> dict[str, torch.Tensor]:
    """All parameters and embeddings of the final checkpoint, on one rank."""
    torch.set_default_dtype(torch.float64)
    try:
        trainer = build_trainer(make_config(dataset.directory, run, refit="all", **options), dataset, World())
        load_checkpoint(find_checkpoint(run, "best"), trainer.replicated, trainer.users, trainer.part)
        embeddings = trainer.embed()
    finally:
        torch.set_default_dtype(torch.float32)
    tensors = {**trainer.replicated.state_dict(), "movie embeddings": embeddings.movie}
    return tensors | {f"user {name}": rows for name, rows in trainer.users.state_dict().items()} | {
        "user embeddings": embeddings.user
    }  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_ranks_train_the_model_of_one(dataset, summaries, scenario):
    one, two = (
        weights(dataset, Path(summaries[ranks][0]["place"]) / scenario, SCENARIOS[scenario]) for ranks in (1, 2)
    )
    assert one.keys() == two.keys() and one["movie embeddings"].dtype == torch.float64
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_ranks_report_what_one_reports(dataset, summaries, scenario):
    (one,), two = ([summary[scenario] for summary in summaries[ranks]] for ranks in (1, 2))
    for summary in two:
        assert summary["world_size"] == 2 and summary["no_test_metrics"] == NO_TEST
        assert summary["counts"] == one["counts"] and summary.keys() == one.keys()
        assert not [name for name in summary if name.startswith(("test", "validation", "rmse_by"))]
    assert one["counts"]["training_ratings"] <= dataset.num_ratings
    if scenario != "ranking":
        assert sum(two[0]["partition"]["edges"]) == one["counts"]["training_ratings"] == dataset.num_ratings
    losses = []
    for ranks in (1, 2):
        lines = (Path(summaries[ranks][0]["place"]) / scenario / "metrics.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert not [name for record in records for name in record if name.startswith(("test_", "validation_"))]
        losses.append([(record["step"], record["loss"]) for record in records if "loss" in record])
    assert losses[1] == [(step, pytest.approx(loss, rel=1e-10)) for step, loss in losses[0]] and losses[0]
