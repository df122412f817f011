"""Effects of time against plain loops over pairs of ratings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.distributed import World
from gnnrec.evaluation.rating import held_out
from gnnrec.graph.drift import CUTS, WINDOWS, estimate_drift
from gnnrec.kernels.ragged import owners
from gnnrec.graph.rank_graph import build_rank_graph, read_edges
from gnnrec.graph.statistics import message_statistics
from gnnrec.models.layerwise import embed_all
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("drift"), users=41, movies=23, ratings=500)


def oracle(rows, times, residual, weight, at_rows, at_times, leave_out, window, begin):
    """Shrunken mean over ratings of the same row, weighted by how many of the cuts they share a bin in."""
    effects = []
    for number, (row, time) in enumerate(zip(at_rows, at_times)):
        total = count = 0.0
        for cut in range(CUTS):
            first = begin - window.seconds * cut // CUTS
            near = (rows == row) & ((times - first) // window.seconds == (time - first) // window.seconds)
            if leave_out:
                near[number] = False
            total += (residual * weight)[near].sum()
            count += weight[near].sum()
        effects.append(total / (count + CUTS * window.shrinkage))
    return np.array(effects)


def test_effects_are_those_of_plain_loops(dataset):
    graph = build_rank_graph(dataset, World(), dtype=torch.float64, time=True)
    rng = np.random.default_rng(0)
    residual, weight = rng.normal(size=graph.num_edges), (rng.random(graph.num_edges) < 0.8) * 1.0
    rows = {"user": owners(graph.user_ptr).numpy(), "movie": graph.movie.numpy()}
    time = dataset.timestamp[graph.edge_id.numpy()]
    drift = estimate_drift(graph.time_bins, torch.from_numpy(residual), torch.from_numpy(weight), World())
    test = read_edges(dataset, graph.part, (TEST,))
    test_rows = {"user": owners(test.user_ptr).numpy(), "movie": test.movie.numpy()}
    elsewhere = drift.tables.at(*(torch.from_numpy(test_rows[side]) for side in ("user", "movie")), test.time)
    shared = 0
    for column, window in enumerate(WINDOWS):
        row = rows[window.side]
        expected = oracle(row, time, residual, weight, row, time, True, window, time.min())
        np.testing.assert_allclose(drift.effect[:, column], expected, rtol=1e-10, atol=1e-12)
        # A movie outside of the years seen keeps its nearest bin, so only times inside are compared.
        inside = (test.time.numpy() >= time.min()) & (test.time.numpy() <= time.max())
        asked = oracle(
            row, time, residual, weight, test_rows[window.side], test.time.numpy(), False, window, time.min()
        )
        np.testing.assert_allclose(elsewhere[inside, column], asked[inside], rtol=1e-10, atol=1e-12)
        shared += np.count_nonzero(asked[inside])
        residual = residual - expected
    assert shared > len(asked)


def test_excluded_ratings_change_no_bit_of_any_effect(dataset):
    graph = build_rank_graph(dataset, World(), time=True)
    rng = np.random.default_rng(1)
    excluded = torch.from_numpy(rng.random(graph.num_edges) < 0.3)
    masks = excluded, excluded[graph.order]
    before = message_statistics(graph, masks)
    graph.rating = torch.where(excluded, 5.5 - graph.rating, graph.rating)
    after = message_statistics(graph, masks)
    assert torch.equal(before.drift.effect, after.drift.effect) and torch.equal(before.residual, after.residual)
    seen = message_statistics(graph)
    assert not torch.equal(before.drift.effect, seen.drift.effect)


def test_someone_never_seen_has_no_effect(dataset):
    graph = build_rank_graph(dataset, World(), time=True)
    tables = message_statistics(graph).drift.tables
    late = torch.full((3,), 2_000_000_000)
    effect = tables.at(torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]), late)
    assert (effect[:, 1:] == 0).all()  # no session, no day
    assert (effect[:, 0] != 0).any()  # the last years of a movie still hold


def test_a_movie_bin_is_wide_enough_for_long_histories(tmp_path):
    write_dataset(tmp_path / "a")
    table = pd.read_csv(tmp_path / "a" / "ratings.csv")
    table.loc[0, "timestamp"] = 1
    table.to_csv(tmp_path / "ratings.csv", index=False)
    prepare(tmp_path / "b", PrepareOptions(ratings=tmp_path / "ratings.csv", test=0.0, validation=0.0))
    graph = build_rank_graph(PreparedDataset(tmp_path / "b"), World(), (TRAIN,), time=True)
    for cut in graph.time_bins.cuts[0]:
        assert cut.bins <= 64 and cut.pointer[-1] == graph.num_edges


def effects_of(world, directory):
    dataset = PreparedDataset(directory)
    graph = build_rank_graph(dataset, world, dtype=torch.float64, time=True)
    drift = message_statistics(graph).drift
    test = held_out(dataset, graph.part, TEST, world, torch.float64, drift.tables)
    return world.gather_objects((drift.effect, test.drift))


def test_effects_do_not_depend_on_the_number_of_ranks(dataset):
    alone = effects_of(World(), dataset.directory)
    for parts in run_on_ranks(3, effects_of, dataset.directory):
        for column in range(2):
            together = torch.cat([part[column] for part in parts])
            torch.testing.assert_close(together, alone[0][column], rtol=1e-10, atol=1e-12)


def test_time_is_an_option(dataset, tmp_path):
    for time in (True, False):
        trainer = RatingTrainer(make_config(model={"time": time}), dataset, World())
        embeddings = embed_all(trainer.replicated, trainer.users, trainer.graph)
        assert (embeddings.drift is not None) == time
        assert hasattr(trainer.replicated, "drift_multiple") == time
