"""Users embedded in ranges have the same embeddings as together, for all models and numbers of ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph import user_chunks
from gnnrec.inference.load import load_run
from gnnrec.inference.rating_run import RatingRun
from gnnrec.inference.user_encoder import UserEncoder
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

pytestmark = pytest.mark.slow

USERS, MOVIES = 37, 29
RUNS = {
    **{
        f"{architecture}, {layers} layers": {"model": {"architecture": architecture, "layers": layers}}
        for architecture in ("gcn", "sage", "gat")
        for layers in (1, 2)
    },
    "no layers": {"model": {"layers": 0}},
    "without time": {"model": {"layers": 2, "time": False}},
    "refitted": {"model": {"layers": 2}, "refit": True},
    "MLP head": {"model": {"layers": 2, "head": "mlp", "head_dim": 5}},
    "without user ids": {"model": {"layers": 2, "user_ids": False}},
    "ranking": {"objective": "ranking", "ranking": {"dim": 6}, "optimizer": {"epochs": 2}},
}


@pytest.fixture(scope="module", autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Runs named by their index in RUNS, with many large steps, so that all parameters have changed."""
    directory = tmp_path_factory.mktemp("encoders")
    dataset = write_dataset(directory, USERS, MOVIES, shards=7)
    for number, options in enumerate(RUNS.values()):
        options = {"optimizer": {"lr": 0.05}} | options
        train(make_config(dataset.directory, directory / str(number), **options), World())
    return directory


def run_of(place: Path, name: str) -> Path:
    return place / str(list(RUNS).index(name))


def together(run: Path) -> tuple[Tensor, ...]:
    """Embeds all users and movies at once, on one rank; biases and offset of rating models in the dataset's unit."""
    loaded = load_run(run, World())
    found, rating = loaded.embed(), loaded.dataset.manifest.rating
    std, mean = (rating["std"], rating["mean"]) if isinstance(loaded, RatingRun) else (1.0, 0.0)
    return found.user, found.user_bias * std, found.movie, found.movie_bias * std, found.offset * std + mean


def range_by_range(encoder: UserEncoder, size: int) -> tuple[Tensor, ...]:
    parts = [encoder.users(range(first, min(first + size, USERS))) for first in range(0, USERS, size)]
    user, user_bias = (torch.cat([getattr(part, name) for part in parts]) for name in ("vector", "bias"))
    return user, user_bias, encoder.movies.vector, encoder.movies.bias, encoder.offset


def assert_same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], message: str = "") -> None:
    names = ("user", "user bias", "movie", "movie bias", "offset")
    for name, a, b in zip(names, found, expected):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{message} {n}: {m}")


def encode_on_rank(world: World, place: str, chunk: int, size: int) -> dict[str, tuple[Tensor, ...]]:
    """Embeds all users on every rank, which has only some of them."""
    torch.set_default_dtype(torch.float64)
    return {name: range_by_range(load_run(run_of(Path(place), name), world).encoder(chunk), size) for name in RUNS}


@pytest.mark.parametrize(("chunk", "size"), [(1, 1), (5, 36), (7, 10), (36, 37), (1000, 1000)])
@pytest.mark.parametrize("name", RUNS)
def test_ranges_equal_all_at_once(place, name, chunk, size):
    expected = together(run_of(place, name))
    assert expected[0].std() > 0.01 and expected[2].std() > 0.01
    assert_same(range_by_range(load_run(run_of(place, name), World()).encoder(chunk), size), expected)


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_rank_can_embed_all_users(place, ranks):
    for found in run_on_ranks(ranks, encode_on_rank, str(place), 4, 11):
        for name in RUNS:
            assert_same(found[name], together(run_of(place, name)), name)


@pytest.mark.parametrize("name", ["sage, 2 layers", "gat, 2 layers", "without time"])
def test_results_do_not_depend_on_cached_graphs(place, name, monkeypatch):
    kept = range_by_range(load_run(run_of(place, name), World()).encoder(5), 10)
    monkeypatch.setattr(user_chunks, "KEPT_RATINGS", 0)
    built = []
    build = user_chunks.build_chunk_graph
    monkeypatch.setattr(user_chunks, "build_chunk_graph", lambda *a, **o: built.append(a[1]) or build(*a, **o))
    encoder = load_run(run_of(place, name), World()).encoder(5)
    assert built.count(range(0, 5)) > 2, "it was kept nevertheless"
    assert_same(range_by_range(encoder, 10), kept)


@pytest.mark.parametrize("name", RUNS)
def test_an_encoder_is_restored_from_its_state_bit_for_bit(place, name):
    loaded = load_run(run_of(place, name), World())
    first = loaded.encoder(5)
    again = load_run(run_of(place, name), World()).encoder(5, first.state())
    for a, b in zip(range_by_range(first, 10), range_by_range(again, 10)):
        assert torch.equal(a, b)
    assert all(value.device.type == "cpu" for value in first.state().values())


def test_times_and_validation_ratings_change_the_embeddings(place):
    """The comparisons above would not notice if both computations omitted them."""
    base = together(run_of(place, "sage, 2 layers"))
    for name in ("without time", "refitted", "without user ids"):
        assert (together(run_of(place, name))[0] - base[0]).abs().max() > 1e-3
