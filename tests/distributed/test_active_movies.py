"""Reducing the sums of the active movies of a step gives the same result as reducing those of all movies."""

from __future__ import annotations

import itertools

import pytest
import torch

from benchmarks.steps import run_epoch
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.build_sampler import exchanges_used_movies
from gnnrec.graph.options import LoaderOptions
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

pytestmark = pytest.mark.slow

LOADER = {"seed_users": 11, "movies_per_user": 2, "raters_per_movie": 1, "folds": 2}
CASES = {
    f"{architecture}, layers: {layers}, control variate: {variate}": (architecture, layers, variate)
    for architecture, layers, variate in (
        ("gcn", 1, False),
        ("sage", 1, True),
        ("sage", 2, False),
        ("gat", 1, False),
        ("gat", 2, True),
    )
}


def train_steps(world: World, data: str) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
    """Three steps of every case: case -> movie rows -> name -> tensor."""
    torch.set_default_dtype(torch.float64)
    tensors: dict[str, dict[str, dict]] = {}
    for name, (architecture, layers, variate) in CASES.items():
        for rows in ("all", "active"):
            config = make_config(
                model={"architecture": architecture, "layers": layers, "message_dropout": 0.3, "dropout": 0.2},
                loader=LOADER | {"control_variate": variate, "movie_rows": rows},
                optimizer={"eps": 1e-3},
            )
            trainer = RatingTrainer(config, PreparedDataset(data), world)
            trainer.world.collective_stats.bytes = 0
            losses = [result.loss for result in itertools.islice(run_epoch(trainer, 0), 3)]
            parameters = [*trainer.replicated.named_parameters(), *trainer.users.named_parameters(prefix="users")]
            values = {key: value.detach().clone() for key, value in parameters}
            values |= {
                "loss": world.all_reduce_sum_(torch.stack(losses)),
                "users/bytes": torch.tensor(world.collective_stats.bytes),
            }
            tensors.setdefault(name, {})[rows] = values
    torch.set_default_dtype(torch.float32)
    return tensors


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    data = write_dataset(tmp_path_factory.mktemp("active"), users=41, movies=300, ratings=900)
    return {ranks: run_on_ranks(ranks, train_steps, str(data.directory)) for ranks in (1, 2)}


@pytest.mark.parametrize("case", CASES)
def test_reducing_active_movies_gives_the_same_numbers(trained, case):
    (one,), two = trained[1], trained[2]
    for rank in two:
        everything, active = rank[case]["all"], rank[case]["active"]
        assert active.pop("users/bytes") < 0.8 * everything.pop("users/bytes")
        for name, value in everything.items():
            torch.testing.assert_close(active[name], value, rtol=1e-10, atol=1e-12, msg=lambda text, n=name: n + text)
            if not name.startswith("users"):
                torch.testing.assert_close(value, one[case]["all"][name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        ({"seed_users": 3, "movies_per_user": 2}, True),
        ({"seed_users": 41, "movies_per_user": 2}, False),
        ({"seed_users": 41, "movies_per_user": 2, "movie_rows": "active"}, True),
        ({"seed_users": 3, "movies_per_user": 2, "movie_rows": "all"}, False),
        ({"movie_rows": "active"}, False),  # whole neighborhoods use all movies
        ({}, False),
        ({"layers": 2, "seed_users": 3, "movies_per_user": 2}, False),  # raters are sampled for all movies
        ({"layers": 2, "seed_users": 3, "movies_per_user": 2, "movie_rows": "active"}, True),
    ],
    ids=str,
)
def test_auto_is_active_where_a_step_exchanges_used_movies(tmp_path, loader, expected):
    dataset = write_dataset(tmp_path, users=41, movies=300, ratings=900)
    graph, loader = build_rank_graph(dataset, World()), dict(loader)
    layers = loader.pop("layers", 1)
    options = LoaderOptions(**{"folds": 4} | loader)
    assert exchanges_used_movies(options, graph, layers) == expected
    if options.movie_rows == "auto" and options.samples:
        model, given = {"layers": layers}, {"folds": 4, "movie_rows": "active"} | loader
        trainer = RatingTrainer(make_config(dataset.directory, model=model, loader=given), dataset, World())
        _, batch = trainer.make_batch(0, 0)
        sent = [batch.to_users.lists.entry, batch.to_movies.lists.entry, batch.targets.movie]
        assert (torch.cat(sent).unique().numel() < graph.num_movies / 2) == expected
