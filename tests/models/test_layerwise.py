"""Layer-wise embedding in chunks of users equals one pass over the whole graph, on one rank and on three."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.batch import whole_graph
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.models.build import build_model
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.layerwise import embed_all
from gnnrec.models.options import ModelOptions
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

ARCHITECTURES = ("gcn", "sage", "gat")
FIELDS = ("user", "movie", "user_bias", "movie_bias", "offset")


@pytest.fixture(scope="module", autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("layerwise"), shards=7)


def perturbed(dataset: PreparedDataset, world: World, **options) -> tuple[RankGraph, RatingModel, NodeTables]:
    """Builds a model and adds noise, because second layers and biases start at zero; independent of ranks."""
    graph = build_rank_graph(dataset, world, dtype=torch.float64)
    model, users = build_model(ModelOptions(**{"dim": 6, "init_std": 0.3} | options), graph, dataset, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
            parameter.add_(torch.rand(parameter.shape, generator=generator) - 0.5)
        for row in users.rows().values():
            noise = torch.rand((dataset.num_users, *row.shape[1:]), generator=generator) - 0.5
            row.add_(noise[graph.part.start : graph.part.stop])
    return graph, model, users


def one_pass(graph: RankGraph, model: RatingModel, users: NodeTables) -> NodeEmbeddings:
    with torch.no_grad():
        return model.embed(whole_graph(graph, message_statistics(graph)), users.rows())


def assert_same(actual: NodeEmbeddings, expected: NodeEmbeddings) -> None:
    for name in FIELDS:
        a, b = getattr(actual, name), getattr(expected, name)
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("chunk", [5, 1000])
def test_chunks_equal_one_pass(dataset, architecture, layers, chunk):
    graph, model, users = perturbed(dataset, World(), architecture=architecture, layers=layers)
    actual = embed_all(model, users, graph, chunk)
    assert_same(actual, one_pass(graph, model, users))
    assert not any(getattr(actual, name).requires_grad for name in FIELDS)
    assert actual.user.shape == (dataset.num_users, 6) and actual.movie.shape == (dataset.num_movies, 6)


@pytest.mark.parametrize(
    "options",
    [
        {"layers": 0},
        {"layers": 2, "user_ids": False, "movie_ids": False},
        {"layers": 2, "genres": False, "restore_degree": False},
        {"architecture": "gcn", "layers": 2, "self_loops": True},
        {"architecture": "gcn", "layers": 2, "self_loops": True, "user_ids": False},
        {"architecture": "gat", "layers": 2, "concat": False, "heads": 3},
        {"architecture": "gat", "layers": 2, "heads": 1, "restore_degree": False, "user_ids": False},
    ],
    ids=str,
)
def test_every_kind_of_layer_equals_one_pass(dataset, options):
    graph, model, users = perturbed(dataset, World(), **options)
    assert_same(embed_all(model, users, graph, 5), one_pass(graph, model, users))


def test_embedding_uses_no_dropout(dataset):
    graph, model, users = perturbed(dataset, World(), layers=2, dropout=0.5)
    assert model.training
    assert_same(embed_all(model, users, graph, 5), one_pass(graph, model, users))


def test_every_layer_changes_the_result(dataset):
    """The comparisons above would not detect a layer that is missing in both computations."""
    graph, model, users = perturbed(dataset, World(), layers=3)
    before = embed_all(model, users, graph, 5)
    for layer in model.encoder.layers:
        for weight, side in ((layer.user_out.weight, "user"), (layer.movie_out.weight, "movie")):
            with torch.no_grad():
                weight.add_(0.1)
                after = embed_all(model, users, graph, 5)
                weight.sub_(0.1)
            assert (getattr(after, side) - getattr(before, side)).abs().max() > 1e-3


def embed_on_rank(world: World, directory: str) -> dict[str, NodeEmbeddings]:
    torch.set_default_dtype(torch.float64)
    dataset = PreparedDataset(Path(directory))
    actual = {}
    for architecture in ARCHITECTURES:
        graph, model, users = perturbed(dataset, world, architecture=architecture, layers=2)
        actual[architecture] = embed_all(model, users, graph, 5)
    return actual


@pytest.mark.slow
def test_three_ranks_equal_one(dataset):
    expected = embed_on_rank(World(), str(dataset.directory))
    ranks = run_on_ranks(3, embed_on_rank, str(dataset.directory))
    for architecture in ARCHITECTURES:
        parts = [rank[architecture] for rank in ranks]
        for part in parts:
            joined = {name: torch.cat([getattr(rank, name) for rank in parts]) for name in ("user", "user_bias")}
            assert_same(dataclasses.replace(part, **joined), expected[architecture])
