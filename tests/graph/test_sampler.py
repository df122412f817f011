"""Built-in sampler: distribution of draws, independence of ranks, and batches of PyG's loaders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch_geometric.loader import LinkLoader, LinkNeighborLoader, NeighborLoader, NodeLoader
from torch_geometric.sampler import EdgeSamplerInput, HeteroSamplerOutput, NodeSamplerInput

from gnnrec import rng
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph import sampler as sampler_module
from gnnrec.graph.hetero import hetero_data
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.sampler import MOVIE, RATED_BY, RATES, USER, BipartiteSampler, draw
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

SUSPICIOUS = 1e-4
MOVIES_PER_USER, RATERS_PER_MOVIE = 4, 3


def draws_of(degree: list[int], fan_out: int, stream: int = 1, ids: list[int] | None = None) -> dict[int, list[int]]:
    """Returns the drawn positions of each node."""
    ids = list(range(len(degree))) if ids is None else ids
    node, position = draw(stream, torch.tensor(ids), torch.tensor(degree), fan_out)
    assert (node.diff() >= 0).all()
    actual = {number: [] for number in range(len(degree))}
    for number, place in zip(node.tolist(), position.tolist()):
        actual[number].append(place)
    return actual


@pytest.mark.parametrize("fan_out", [0, 1, 2, 3, 7, 50])
@pytest.mark.parametrize("stream", range(5))
def test_draws_are_distinct_positions_of_the_list(fan_out, stream):
    degree = [0, 1, 2, 3, 4, 7, 8, 49, 50, 51, 99, 100, 1000, 10**6] * 20
    for node, places in draws_of(degree, fan_out, stream).items():
        assert len(places) == len(set(places)) == min(fan_out, degree[node])
        assert all(0 <= place < degree[node] for place in places)


@pytest.mark.parametrize("fan_out", [-1, 5, 100])
def test_short_lists_are_taken_whole_and_in_order(fan_out):
    degree = [0, 3, 5, 1, 0, 4]
    for node, places in draws_of(degree, fan_out).items():
        assert places == list(range(degree[node]))


@pytest.mark.parametrize(("degree", "fan_out"), [(2, 1), (4, 3), (7, 3), (10, 5), (23, 7), (101, 2)])
@pytest.mark.parametrize("across", ["nodes", "streams"])
def test_every_position_is_equally_likely(degree, fan_out, across):
    if across == "nodes":
        nodes = 20_000
        _, position = draw(rng.key(0, "neighbours", 0, 1), torch.arange(nodes), torch.full((nodes,), degree), fan_out)
    else:
        nodes, one = 1000, torch.tensor([77])
        parts = [
            draw(rng.key(0, "neighbours", 0, step), one, torch.tensor([degree]), fan_out)[1] for step in range(nodes)
        ]
        position = torch.cat(parts)
    counts = np.bincount(position.numpy(), minlength=degree)
    assert counts.sum() == nodes * fan_out and len(counts) == degree
    for count in counts:
        assert scipy.stats.binomtest(int(count), nodes, fan_out / degree).pvalue > SUSPICIOUS / 10


def test_draws_of_two_nodes_are_independent():
    nodes = 40_000
    _, position = draw(5, torch.arange(nodes), torch.full((nodes,), 6), 1)
    table = np.bincount((position[:-1] * 6 + position[1:]).numpy(), minlength=36).reshape(6, 6)
    assert scipy.stats.chi2_contingency(table).pvalue > SUSPICIOUS


def test_draws_depend_on_ids_alone():
    ids, degree = [5, 900, 3, 77, 12], [40, 9, 30, 2, 55]
    whole = draws_of(degree, 4, ids=ids)
    for chosen in ([3, 1], [4, 3, 2, 1, 0], [0]):
        actual = draws_of([degree[n] for n in chosen], 4, ids=[ids[n] for n in chosen])
        assert list(actual.values()) == [whole[n] for n in chosen]
    assert draws_of(degree, 4, stream=2, ids=ids) != whole
    assert draws_of([40], 4, ids=[6])[0] != whole[0]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("sampler"), shards=11)


@pytest.fixture(scope="module")
def graph(dataset):
    return build_rank_graph(dataset, World())


def sampler_of(graph: RankGraph, hops: int = 2, step: int = 0, slots: bool = False) -> BipartiteSampler:
    sampler = BipartiteSampler(graph, 3, MOVIES_PER_USER, RATERS_PER_MOVIE, hops, slots)
    sampler.set_step(1, step)
    return sampler


def ratings_of(graph: RankGraph) -> dict[tuple[int, int], float]:
    owner = np.repeat(np.arange(graph.num_users), graph.user_degree).tolist()
    return dict(zip(zip(owner, graph.movie.tolist()), graph.rating_unit.restore(graph.rating).tolist()))


def check_edges(batch, graph: RankGraph) -> None:
    """Asserts that every edge of a batch is a rating and has its value, scaled from [0.5, 5] to [0, 1]."""
    rated = ratings_of(graph)
    for kind, user_side in ((RATES, 0), (RATED_BY, 1)):
        user = batch[USER].n_id[batch[kind].edge_index[user_side]].tolist()
        movie = batch[MOVIE].n_id[batch[kind].edge_index[1 - user_side]].tolist()
        pairs = list(zip(user, movie))
        assert len(pairs) == len(set(pairs)) > 0
        assert set(pairs) <= set(rated)
        actual = batch[kind].edge_attr
        assert actual.shape == (len(pairs), 1)
        np.testing.assert_allclose(actual[:, 0], [(rated[pair] - 0.5) / 4.5 for pair in pairs], atol=1e-5)


def in_degrees(batch, kind: tuple, receivers: int) -> torch.Tensor:
    return torch.bincount(batch[kind].edge_index[1], minlength=receivers)


def node_loader(kind: str, graph: RankGraph, sampler: BipartiteSampler):
    options = {"input_nodes": (USER, torch.arange(graph.num_users)), "batch_size": 10}
    if kind == "NodeLoader":
        return NodeLoader(hetero_data(graph), node_sampler=sampler, **options)
    return NeighborLoader(hetero_data(graph), num_neighbors=[-1], neighbor_sampler=sampler, **options)


@pytest.mark.parametrize("kind", ["NodeLoader", "NeighborLoader"])
@pytest.mark.parametrize("hops", [1, 2])
def test_batches_of_pygs_node_loaders(graph, kind, hops):
    seen = []
    for batch in node_loader(kind, graph, sampler_of(graph, hops)):
        check_edges(batch, graph)
        users, seeds = batch[USER].n_id, batch[USER].input_id
        assert torch.equal(users[: len(seeds)], seeds)
        assert len(set(users.tolist())) == len(users)
        assert torch.equal(batch[MOVIE].n_id, torch.arange(graph.num_movies))
        wanted = graph.user_degree[users].clamp(max=MOVIES_PER_USER)
        if hops == 1:
            wanted[len(seeds) :] = 0
        assert torch.equal(in_degrees(batch, RATED_BY, len(users)), wanted)
        raters = graph.movie_degree.clamp(max=RATERS_PER_MOVIE)
        assert torch.equal(in_degrees(batch, RATES, graph.num_movies), raters)
        # Every user of the batch is a seed or a sampled rater.
        needed = torch.cat([torch.arange(len(seeds)), batch[RATES].edge_index[0]]).unique()
        assert len(needed) == len(users)
        seen += seeds.tolist()
    assert seen == list(range(graph.num_users))


@pytest.mark.parametrize("kind", ["LinkLoader", "LinkNeighborLoader"])
def test_batches_of_pygs_link_loaders(graph, kind):
    data = hetero_data(graph)
    links = data[RATES].edge_index[:, torch.randperm(graph.num_edges, generator=torch.Generator().manual_seed(0))[:60]]
    label = torch.arange(60.0)
    options = {"edge_label_index": (RATES, links), "edge_label": label, "batch_size": 25}
    if kind == "LinkLoader":
        loader = LinkLoader(data, link_sampler=sampler_of(graph), **options)
    else:
        loader = LinkNeighborLoader(data, num_neighbors=[-1], neighbor_sampler=sampler_of(graph), **options)
    seen = []
    for batch in loader:
        check_edges(batch, graph)
        user, movie = batch[RATES].edge_label_index
        actual = torch.stack([batch[USER].n_id[user], batch[MOVIE].n_id[movie]])
        assert torch.equal(actual, links[:, batch[RATES].input_id])
        assert torch.equal(batch[RATES].edge_label, label[batch[RATES].input_id])
        assert (in_degrees(batch, RATED_BY, len(batch[USER].n_id)) >= 1).all()
        seen += batch[RATES].input_id.tolist()
    assert seen == list(range(60))


def test_negative_sampling_is_an_error(graph):
    loader = LinkLoader(
        hetero_data(graph), link_sampler=sampler_of(graph), edge_label_index=RATES, neg_sampling_ratio=1.0, batch_size=5
    )
    with pytest.raises(NotImplementedError):
        next(iter(loader))


def test_seeds_of_another_type_are_an_error(graph):
    with pytest.raises(ValueError, match="'user'"):
        sampler_of(graph).sample_from_nodes(NodeSamplerInput(None, torch.tensor([0]), input_type=MOVIE))
    with pytest.raises(ValueError, match="rates"):
        inputs = EdgeSamplerInput(None, torch.tensor([0]), torch.tensor([0]), input_type=RATED_BY)
        sampler_of(graph).sample_from_edges(inputs)


def test_a_fan_out_of_minus_one_takes_the_whole_graph(graph):
    sampler = BipartiteSampler(graph, 0, -1, -1, 2)
    out = sampler.sample_from_nodes(NodeSamplerInput(None, torch.arange(graph.num_users)))
    for kind in (RATES, RATED_BY):
        assert sorted(out.edge[kind].tolist()) == list(range(graph.num_edges))


def pairs_of(graph: RankGraph, out, kind: tuple) -> list[tuple[int, int]]:
    user, movie = (out.row[kind], out.col[kind]) if kind == RATES else (out.col[kind], out.row[kind])
    return list(zip(graph.user_rows[out.node[USER][user]].tolist(), movie.tolist()))


def full_edges(out: HeteroSamplerOutput, kind: tuple) -> list[tuple[int, int, int]]:
    """Local user, movie and position by user of each edge, in a fixed order."""
    user, movie = (out.row[kind], out.col[kind]) if kind == RATES else (out.col[kind], out.row[kind])
    full = out.edge[kind] >= 0
    edges = [out.node[USER][user[full]], movie[full], out.edge[kind][full]]
    return sorted(zip(*(tensor.tolist() for tensor in edges)))


def assert_same_without_empty_slots(
    actual: HeteroSamplerOutput, expected: HeteroSamplerOutput, graph: RankGraph, seeds: int
) -> bool:
    """Asserts that a sample with slots has the edges of another one; whether its users are those of the rank."""
    whole = actual.node[USER] is graph.local_rows
    if not whole:
        users = expected.node[USER]
        assert torch.equal(actual.node[USER][: users.numel()], users)
        assert actual.node[USER].numel() == seeds + actual.edge[RATES].numel()
    for kind in (RATES, RATED_BY):
        assert full_edges(actual, kind) == full_edges(expected, kind)
    return whole


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("most_slots", [0, 20, 1 << 24])
def test_samples_with_slots_have_the_same_edges(graph, hops, most_slots, monkeypatch):
    monkeypatch.setattr(sampler_module, "_MOST_SLOTS", most_slots)
    seeds, movies = NodeSamplerInput(None, torch.tensor([7, 2, 30, 11])), torch.tensor([1, 5, 6])
    wholes = []
    for chosen in (None, movies):
        samplers = [sampler_of(graph, hops, slots=slots) for slots in (False, True)]
        for sampler in samplers:
            sampler.set_step(2, 1, chosen)
        expected, actual = (sampler.sample_from_nodes(seeds) for sampler in samplers)
        wholes.append(assert_same_without_empty_slots(actual, expected, graph, 4))
        if most_slots == 1 << 24:
            assert actual.edge[RATES].numel() == RATERS_PER_MOVIE * (graph.num_movies if chosen is None else 3)
            assert (actual.edge[RATES] < 0).any() or chosen is not None
    assert wholes == [True, False]  # three movies have fewer raters than there are users


def test_each_step_draws_its_own_sample_reproducibly(graph):
    seeds = NodeSamplerInput(None, torch.arange(5))
    actual = []
    for epoch, step in ((0, 0), (0, 1), (1, 0), (0, 0)):
        sampler = sampler_of(graph)
        sampler.set_step(epoch, step)
        out = sampler.sample_from_nodes(seeds)
        actual.append((pairs_of(graph, out, RATES), pairs_of(graph, out, RATED_BY)))
    for place in (0, 1):
        assert actual[0][place] != actual[1][place] and actual[0][place] != actual[2][place]
        assert actual[0][place] == actual[3][place]


def test_sampling_scale_times_sampled_edges_is_the_degree(graph):
    users = torch.tensor([4, 0, 30])
    sampler = sampler_of(graph)
    out = sampler.sample_from_nodes(NodeSamplerInput(None, users))
    user_sampling_scale, movie_sampling_scale = sampler.sampling_scale(out.node[USER])
    drawn = torch.bincount(out.col[RATED_BY], minlength=len(out.node[USER]))
    np.testing.assert_allclose(user_sampling_scale * drawn, graph.user_degree[out.node[USER]], rtol=1e-6)
    drawn = torch.bincount(out.col[RATES], minlength=graph.num_movies)
    np.testing.assert_allclose(movie_sampling_scale * drawn, graph.movie_degree, rtol=1e-6)
    assert (user_sampling_scale > 1).any() and (movie_sampling_scale > 1).any()


def draws_on_rank(world: World, directory: str) -> tuple[list, list, list]:
    """Returns pairs of global rows: raters of three steps, movies of this rank's seeds, movies of all its users."""
    graph = build_rank_graph(PreparedDataset(Path(directory)), world)
    raters, of_seeds, of_users = [], [], []
    for step in range(3):
        seeds = torch.arange(graph.num_users)[graph.user_rows % 3 == step]
        out, with_slots = (
            sampler_of(graph, hops=2, step=step, slots=slots).sample_from_nodes(NodeSamplerInput(None, seeds))
            for slots in (False, True)
        )
        assert_same_without_empty_slots(with_slots, out, graph, seeds.numel())
        raters += [(step, *pair) for pair in pairs_of(graph, out, RATES)]
        of_users += [(step, *pair) for pair in pairs_of(graph, out, RATED_BY)]
        of_seeds += [pair for pair in of_users if pair[0] == step and pair[1] % 3 == step]
    return raters, of_seeds, of_users


@pytest.mark.slow
def test_three_ranks_draw_together_what_one_rank_draws(dataset):
    one = draws_on_rank(World(), str(dataset.directory))
    ranks = run_on_ranks(3, draws_on_rank, str(dataset.directory))
    for whole, *parts in zip(one, *ranks):
        assert min(len(part) for part in parts) > 0
        joined = [pair for part in parts for pair in part]
        assert len(joined) == len(set(joined))
        assert sorted(joined) == sorted(whole)
