"""The graph of one rank against SciPy's sparse matrices, and graphs of three ranks against the whole graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.dataset_edges import read_edges
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from tests.datasets import ratings_table, standardized, write_dataset
from tests.distributed.ranks import run_on_ranks


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("graph"), shards=9)


@pytest.fixture(scope="module")
def graph(dataset):
    return build_rank_graph(dataset, World())


def matrix(dataset: PreparedDataset, values: np.ndarray, splits=(TRAIN,)) -> scipy.sparse.csr_matrix:
    """Builds a matrix of users by movies with one value for each rating of some splits."""
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    chosen = np.isin(dataset.split, splits)
    shape = dataset.num_users, dataset.num_movies
    return scipy.sparse.coo_matrix((values[chosen], (user[chosen], np.array(dataset.movie)[chosen])), shape).tocsr()


def test_by_user_is_the_sparse_matrix_of_train_ratings(dataset, graph):
    expected = matrix(dataset, standardized(dataset))
    assert graph.num_edges == expected.nnz == np.sum(np.array(dataset.split) == TRAIN)
    np.testing.assert_array_equal(graph.user_ptr, expected.indptr)
    np.testing.assert_array_equal(graph.movie, expected.indices)
    np.testing.assert_array_equal(graph.rating, expected.data)
    np.testing.assert_array_equal(graph.user_degree, np.diff(expected.indptr))


def test_by_movie_is_its_transpose(dataset, graph):
    expected = matrix(dataset, standardized(dataset)).tocsc()
    np.testing.assert_array_equal(graph.movie_ptr, expected.indptr)
    np.testing.assert_array_equal(graph.user, expected.indices)
    np.testing.assert_array_equal(graph.rating_by_movie, expected.data)
    np.testing.assert_array_equal(graph.movie_degree, np.diff(expected.indptr))
    assert (graph.movie_start == 0).all()


def test_both_orders_describe_the_same_edges(graph):
    owner_by_user = np.repeat(np.arange(graph.num_users), graph.user_degree)
    owner_by_movie = np.repeat(np.arange(graph.num_movies), graph.movie_ptr.diff())
    np.testing.assert_array_equal(owner_by_user[graph.order], graph.user)
    np.testing.assert_array_equal(graph.movie[graph.order], owner_by_movie)
    np.testing.assert_array_equal(graph.rating[graph.order], graph.rating_by_movie)
    assert sorted(graph.order.tolist()) == list(range(graph.num_edges))


def test_edge_ids_are_positions_in_the_prepared_arrays(dataset, graph):
    ids = graph.edge_id.numpy()
    assert (np.diff(ids) > 0).all()
    np.testing.assert_array_equal(ids, np.flatnonzero(np.array(dataset.split) == TRAIN))
    np.testing.assert_array_equal(graph.movie, dataset.movie[ids])
    np.testing.assert_array_equal(graph.rating, standardized(dataset)[ids])


def test_levels_are_the_ratings_of_a_coarse_scale(dataset, graph):
    levels = np.array(dataset.manifest.rating["levels"])
    assert graph.num_levels == len(levels) == len(np.unique(dataset.rating))
    np.testing.assert_array_equal(levels[graph.level], dataset.rating[graph.edge_id])


def test_levels_are_the_nearest_of_a_fine_scale(tmp_path):
    table = ratings_table(37, 29, 431)
    table["rating"] = np.random.default_rng(0).uniform(1, 9, len(table)).round(4)
    table.to_csv(tmp_path / "fine.csv", index=False)
    prepare(tmp_path / "prepared", PrepareOptions(ratings=tmp_path / "fine.csv", rating_scale="0 10"))
    dataset = PreparedDataset(tmp_path / "prepared")
    graph = build_rank_graph(dataset, World())
    levels = np.array(dataset.manifest.rating["levels"])
    assert len(levels) == 20
    nearest = np.abs(dataset.rating[graph.edge_id][:, None].astype(float) - levels).argmin(1)
    np.testing.assert_array_equal(graph.level, nearest)


@pytest.mark.parametrize("splits", [(TRAIN,), (TRAIN, VALIDATION), (TEST,)])
def test_the_graph_has_only_the_edges_of_its_splits(dataset, splits):
    graph = build_rank_graph(dataset, World(), splits)
    expected = matrix(dataset, np.array(dataset.rating), splits)
    np.testing.assert_array_equal(graph.user_ptr, expected.indptr)
    np.testing.assert_array_equal(graph.movie, expected.indices)
    assert set(np.array(dataset.split)[graph.edge_id]) == set(splits)


def test_refitting_does_not_read_test_ratings(dataset):
    ids = build_rank_graph(dataset, World(), (TRAIN, VALIDATION)).edge_id
    test = np.flatnonzero(np.array(dataset.split) == TEST)
    assert len(test) > 10 and not np.isin(test, ids).any()
    assert len(ids) + len(test) == dataset.num_ratings


def test_ratings_have_the_requested_dtype(dataset):
    graph = build_rank_graph(dataset, World(), dtype=torch.float64)
    assert graph.dtype == torch.float64 and graph.rating_by_movie.dtype == torch.float64


def test_with_times_edges_are_the_same_sorted_by_user_and_time(dataset, graph):
    timed = build_rank_graph(dataset, World(), time=True)
    user, time = np.repeat(np.arange(timed.num_users), timed.user_degree), np.array(dataset.timestamp)[timed.edge_id]
    # Ties are in the order of movies.
    order = np.lexsort((graph.movie, np.array(dataset.timestamp)[graph.edge_id], user))
    assert (order != np.arange(len(order))).any()
    for name in ("movie", "rating", "level", "edge_id"):
        np.testing.assert_array_equal(getattr(timed, name), getattr(graph, name)[order])
    np.testing.assert_array_equal(timed.user_ptr, graph.user_ptr)
    np.testing.assert_array_equal(timed.time, time - time.min())
    assert graph.time is None and graph.clock is None and graph.time_bins is None
    # Raters of a movie keep their order, which determines the sampled neighbors.
    np.testing.assert_array_equal(timed.user, graph.user)
    np.testing.assert_array_equal(timed.movie_ptr, graph.movie_ptr)
    np.testing.assert_array_equal(timed.movie[timed.order], graph.movie[graph.order])


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("splits", [(TRAIN,), (TRAIN, VALIDATION), (TRAIN, VALIDATION, TEST)])
def test_a_graph_read_in_blocks_equals_pandas(dataset, splits, time, monkeypatch):
    for name in (
        "data.blocks._BLOCK",
        "data.blocks._LOOK_UP_BLOCK",
        "data.rating_unit._BLOCK",
        "graph.time_bins._BLOCK",
    ):
        monkeypatch.setattr(f"gnnrec.{name}", 19)
    graph = build_rank_graph(dataset, World(), splits, torch.float64, time)
    columns = {name: np.array(getattr(dataset, name)) for name in ("movie", "rating", "split", "timestamp")}
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    edges = pd.DataFrame(columns | {"user": user, "standardized": standardized(dataset)})
    edges = edges[edges.split.isin(splits)].sort_values(["user", "timestamp"] if time else ["user"], kind="stable")

    np.testing.assert_array_equal(graph.edge_id, edges.index)
    np.testing.assert_array_equal(graph.movie, edges.movie)
    np.testing.assert_array_equal(graph.rating, edges.standardized)
    np.testing.assert_array_equal(np.array(dataset.manifest.rating["levels"])[graph.level], edges.rating)
    np.testing.assert_array_equal(
        graph.user_degree, edges.groupby("user").size().reindex(range(graph.num_users), fill_value=0)
    )
    if time:
        np.testing.assert_array_equal(graph.time, edges.timestamp - edges.timestamp.min())
    by_movie = edges.sort_values(["movie", "user"], kind="stable")
    np.testing.assert_array_equal(graph.user, by_movie.user)
    np.testing.assert_array_equal(graph.edge_id[graph.order], by_movie.index)
    assert (graph.edge_id.dtype, graph.movie.dtype, graph.order.dtype, graph.user.dtype) == (torch.int32,) * 4


def test_mean_degrees_are_over_the_whole_dataset(dataset, graph):
    edges = np.sum(np.array(dataset.split) == TRAIN)
    assert graph.mean_degrees == pytest.approx((edges / dataset.num_users, edges / dataset.num_movies))


def test_users_without_edges_in_a_split_have_empty_lists(dataset):
    part = build_rank_graph(dataset, World()).part
    edges = read_edges(dataset, part, (VALIDATION,))
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    counted = np.bincount(user[np.array(dataset.split) == VALIDATION], minlength=dataset.num_users)
    assert (counted == 0).any() and (counted > 1).any()
    np.testing.assert_array_equal(edges.user_ptr.diff(), counted)


def parts_of(world: World, directory: str) -> dict:
    graph: RankGraph = build_rank_graph(PreparedDataset(Path(directory)), world, (TRAIN, VALIDATION))
    names = ("user_ptr", "movie", "rating", "level", "edge_id", "movie_ptr", "user", "order", "movie_degree")
    actual = {name: getattr(graph, name) for name in (*names, "movie_start", "user_rows")}
    return actual | {"users": graph.num_users_global, "edges": graph.num_edges_global, "degrees": graph.mean_degrees}


@pytest.mark.slow
def test_three_ranks_hold_the_whole_graph(dataset):
    parts = run_on_ranks(3, parts_of, str(dataset.directory))
    whole = parts_of(World(), str(dataset.directory))
    for name in ("movie", "rating", "level", "edge_id", "user_rows"):
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name]), name
    assert min(len(part["user_rows"]) for part in parts) > 0
    assert torch.equal(torch.cat([part["user_ptr"].diff() for part in parts]), whole["user_ptr"].diff())
    for part in parts:
        assert torch.equal(part["movie_degree"], whole["movie_degree"])
        for name in ("users", "edges", "degrees"):
            assert part[name] == whole[name]

    # A movie's global rater list is the concatenation of the ranks' lists, and movie_start has their offsets.
    for movie in range(dataset.num_movies):
        expected = whole["user"][whole["movie_ptr"][movie] : whole["movie_ptr"][movie + 1]].tolist()
        joined = []
        for part in parts:
            assert part["movie_start"][movie] == len(joined)
            local = part["user"][part["movie_ptr"][movie] : part["movie_ptr"][movie + 1]]
            joined += (local + part["user_rows"][0]).tolist()
        assert joined == expected
