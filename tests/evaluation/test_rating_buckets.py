"""RMSE by number of training ratings against pandas."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import held_out
from gnnrec.evaluation.rating_buckets import EDGES, rmse_by_degree
from gnnrec.graph.rank_graph import build_rank_graph
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("buckets"), users=120, movies=50, ratings=1500, test=0.3)


def buckets_of(world: World, directory) -> dict:
    dataset = PreparedDataset(directory)
    graph = build_rank_graph(dataset, world)
    targets = held_out(dataset, graph.part, TEST, world, graph.dtype)
    predicted = 3.0 + (targets.movie % 7) / 2  # sometimes outside the scale
    predicted = (predicted - graph.rating_unit.mean) / graph.rating_unit.std
    return rmse_by_degree(predicted, targets, graph)


def test_buckets_match_a_group_by_of_pandas(dataset):
    buckets = buckets_of(World(), dataset.directory)
    owner = torch.repeat_interleave(torch.arange(dataset.num_users), torch.tensor(dataset.user_ptr).diff())
    table = pd.DataFrame(
        {"user": owner, "movie": dataset.movie[:], "rating": dataset.rating[:], "split": dataset.split[:]}
    )
    train, test = table[table.split == 0], table[table.split == TEST].copy()
    test["error"] = ((3.0 + (test.movie % 7) / 2).clip(0.5, 5) - test.rating) ** 2
    for side in ("user", "movie"):
        degree = test[side].map(train[side].value_counts()).fillna(0)
        groups = test.error.groupby(pd.cut(degree, [*EDGES, 10**9], right=False, labels=False))
        expected = [(EDGES[int(number)], len(errors), errors.mean() ** 0.5) for number, errors in groups]
        rows = buckets[f"rmse_by_{side}_ratings"]
        assert [(row["from"], row["ratings"]) for row in rows] == [row[:2] for row in expected]
        assert [row["rmse"] for row in rows] == pytest.approx([row[2] for row in expected], rel=1e-5)
        assert sum(row["ratings"] for row in rows) == len(test) and len(rows) > 2


@pytest.mark.slow
def test_buckets_are_summed_over_ranks(dataset):
    one_rank = buckets_of(World(), dataset.directory)
    for buckets in run_on_ranks(2, buckets_of, dataset.directory):
        for name, rows in one_rank.items():
            assert [row["ratings"] for row in buckets[name]] == [row["ratings"] for row in rows]
            assert [row["rmse"] for row in buckets[name]] == pytest.approx([row["rmse"] for row in rows])
