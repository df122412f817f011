"""Two ranks load a dataset that has grown as one rank does, without knowing that it has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import held_out
from gnnrec.graph.rank_graph import build_rank_graph
from tests.data.growth.days import grown_and_fresh
from tests.distributed.ranks import run_on_ranks


def load(world: World, directory: str) -> dict[str, torch.Tensor]:
    """The graph of a rank, and its test ratings."""
    dataset = PreparedDataset(directory)
    graph = build_rank_graph(dataset, world, time=True)
    targets = held_out(dataset, graph.part, TEST, world, torch.float32)
    return {
        "degree": graph.user_degree,
        "movie": graph.movie,
        "rating": graph.rating,
        "time": graph.time,
        "edge": graph.edge_id,
        "held out": targets.rating,
    }


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.xdist_group("rank invariance")  # its worker has started the server that forks ranks
def test_two_ranks_load_a_grown_dataset_as_one_does(days, tmp_path):
    grown, _ = grown_and_fresh(days, tmp_path, shards=4, test=0.2)
    (one,) = run_on_ranks(1, load, str(grown.directory))
    two = run_on_ranks(2, load, str(grown.directory))
    assert all(part["edge"].numel() for part in two)
    for name, whole in one.items():
        assert torch.equal(whole, torch.cat([part[name] for part in two])), name
    train = np.flatnonzero(np.asarray(grown.split) == TRAIN)
    assert sorted(one["edge"].tolist()) == train.tolist()
    assert np.array_equal(np.asarray(grown.movie)[one["edge"]], one["movie"])
