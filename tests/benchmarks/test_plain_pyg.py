"""The plain PyG recipe: it learns, it inclusion_probability every train edge, and it is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.nn import SAGEConv

from benchmarks import plain_pyg_graph
from benchmarks.plain_pyg import best_batch, edges_per_second, train
from benchmarks.plain_pyg_graph import MOVIE, RATED_BY, RATES, USER, PlainGraph, ShuffledBatches, batch_loader
from benchmarks.plain_pyg_model import PlainSAGE, sparse_matrix
from benchmarks.plain_pyg_recipe import PlainRecipe
from gnnrec.data.prepared import TRAIN, VALIDATION
from gnnrec.errors import UserError
from gnnrec.graph import pyg_sampler
from tests.datasets import write_dataset

needs_library = pytest.mark.skipif(pyg_sampler.sampling_library() is None, reason="needs pyg-lib or torch-sparse")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("plain"), users=300, movies=80, ratings=6000)


@pytest.fixture(scope="module")
def graph(dataset):
    return PlainGraph(dataset)


@needs_library
def test_the_graph_holds_the_train_edges_and_no_others(dataset, graph):
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    chosen = dataset.split[:] == TRAIN
    edges = graph.loader.data
    assert np.array_equal(edges[RATES].edge_index, [user[chosen], dataset.movie[chosen]])
    assert np.array_equal(edges[RATED_BY].edge_index, [dataset.movie[chosen], user[chosen]])
    assert graph.mean == pytest.approx(dataset.rating[chosen].mean(), abs=1e-5)
    held_out = dataset.split[:] == VALIDATION
    for found, expected in zip(graph.validation, (user, dataset.movie, dataset.rating)):
        assert np.array_equal(found, expected[held_out])


@needs_library
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_supervises_every_train_edge_once_with_its_rating(dataset, graph, workers):
    batches = ShuffledBatches(graph.num_edges, 1000)
    loader = batch_loader(graph, batches, workers, pin_memory=False)
    chosen = dataset.split[:] == TRAIN
    orders = []
    for _ in range(2):
        positions, ends, rating = [], [], []
        for batch in loader:
            assert len(batch[RATES].input_id) <= 1000
            user, movie = batch[RATES].edge_label_index
            positions.append(batch[RATES].input_id)
            ends.append(torch.stack([batch[USER].n_id[user], batch[MOVIE].n_id[movie]]))
            rating.append(batch[RATES].edge_label)
        order = torch.cat(positions)
        assert len(positions) == len(batches)
        assert torch.equal(order.sort()[0], torch.arange(chosen.sum()))
        assert torch.equal(torch.cat(ends, 1), graph.loader.data[RATES].edge_index[:, order])
        assert np.array_equal(torch.cat(rating), dataset.rating[chosen][order])
        orders.append(order)
    assert not torch.equal(*orders)


@needs_library
def test_training_learns_more_than_the_mean(graph):
    rating = graph.validation[2]
    mean_rmse = (rating - graph.mean).square().mean().sqrt()
    records = train(graph, 500, lr=0.01, epochs=4, evaluate_every_steps=5)
    steps = 4 * -(-graph.num_edges // 500)
    assert [record["step"] for record in records] == sorted({*range(5, steps + 1, 5), steps})
    assert records[-1]["edges"] == 4 * graph.num_edges and records[-1]["epoch"] == 4
    assert min(record["validation_rmse"] for record in records) < 0.95 * mean_rmse
    seconds = [record["seconds"] for record in records]
    assert 0 < seconds[0] and seconds == sorted(seconds)


@needs_library
def test_training_stops_when_its_time_is_over(graph):
    records = train(graph, 500, epochs=1000, max_seconds=0.2, schedule="constant")
    assert 0.2 <= records[-1]["seconds"] and records[-1]["epoch"] < 1000


@needs_library
def test_speed_is_measured_for_every_combination(graph):
    assert edges_per_second(graph, 512, workers=0, seconds=0.05) > 0
    found = best_batch(graph, (256, 1024, 10**9), workers=(0, 1), seconds=0.05)
    assert [(row["batch_size"], row["workers"]) for row in found["rows"]] == [(256, 0), (256, 1), (1024, 0), (1024, 1)]
    assert found["best"]["edges_per_second"] == max(row["edges_per_second"] for row in found["rows"]) > 0
    assert found["sampler"] in ("pyg-lib", "torch-sparse")


@needs_library
def test_sparse_products_and_scatter_agree(graph):
    batch = next(iter(PlainRecipe(graph, 300).loader))
    values, gradients = [], []
    for sparse in (True, False):
        torch.manual_seed(1)
        model = PlainSAGE(graph, sparse=sparse)
        predicted = model(batch)
        predicted.square().sum().backward()
        values.append(predicted.detach())
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*values)
    assert (values[0] - graph.mean).std() > 0
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-3)


@needs_library
@pytest.mark.parametrize("sparse", [True, False])
def test_layers_trimmed_to_their_hops_predict_the_same(graph, sparse):
    model = PlainSAGE(graph, sparse=sparse)
    batch = next(iter(PlainRecipe(graph, 20).loader))
    x = {kind: table(batch[kind].n_id) for kind, table in model.embedding.items()}
    edges = batch.edge_index_dict
    ends = dict(zip((USER, MOVIE), batch[RATES].edge_label_index))
    # The first hop goes to the seeds, which come first; its nodes come next.
    seeds = {kind: int(end.max()) + 1 for kind, end in ends.items()}
    first = {kind: int((edge[1] < seeds[kind[2]]).sum()) for kind, edge in edges.items()}
    reached = {kind[0]: max(seeds[kind[0]], int(edge[0, : first[kind]].max()) + 1) for kind, edge in edges.items()}
    assert any(first[kind] < edge.size(1) for kind, edge in edges.items())
    nodes = {kind: [seeds[kind], reached[kind] - seeds[kind], rows.size(0) - reached[kind]] for kind, rows in x.items()}
    counts = {kind: [first[kind], edge.size(1) - first[kind]] for kind, edge in edges.items()}
    trimmed, whole = model.encode(x, edges, (nodes, counts)), model.encode(x, edges)
    for kind, end in ends.items():
        assert trimmed[kind].size(0) < whole[kind].size(0)
        torch.testing.assert_close(trimmed[kind][end], whole[kind][end])


@needs_library
def test_validation_encodes_from_full_neighbourhoods(graph):
    recipe = PlainRecipe(graph, 500)
    recipe.step(next(iter(recipe.loader)))
    model, edges = recipe.model, graph.loader.data.edge_index_dict
    with torch.no_grad():
        x = {kind: table.weight for kind, table in model.embedding.items()}
        for number, layer in enumerate(model.layers):
            x = layer(x, edges)
            x = {kind: rows.relu() for kind, rows in x.items()} if number == 0 else x
        user, movie, rating = graph.validation
        score = graph.mean + (x[USER] @ x[MOVIE].T + model.bias[USER].weight + model.bias[MOVIE].weight.T)[user, movie]
    expected = (score.clamp(0.5, 5) - rating).square().mean().sqrt()
    assert recipe.validation_rmse() == pytest.approx(expected.item(), rel=1e-5)


def test_messages_that_are_not_sorted_by_receiver_are_added_up_alike():
    generator = torch.Generator().manual_seed(0)
    sender, receiver = (torch.randint(high, (50,), generator=generator) for high in (7, 9))
    x, edges = (torch.randn(7, 4), torch.randn(10, 4)), torch.stack([sender, receiver])
    conv = SAGEConv((4, 4), 3)
    torch.testing.assert_close(conv(x, sparse_matrix(edges, x[1], x[0])), conv(x, edges))


def test_a_missing_sampler_is_named(monkeypatch, dataset):
    monkeypatch.setattr(plain_pyg_graph.torch_geometric.typing, "WITH_PYG_LIB", False)
    monkeypatch.setattr(plain_pyg_graph.torch_geometric.typing, "WITH_TORCH_SPARSE", False)
    with pytest.raises(UserError, match="pyg-lib or torch-sparse"):
        PlainGraph(dataset)
