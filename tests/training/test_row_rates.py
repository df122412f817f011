"""Rows of which little is new move little in a run that continues from another."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from gnnrec.data.growth.append import append
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.kept_rows import KeptRows, RowCounts
from gnnrec.training.row_rates import LEAST, RowRates, row_rates
from gnnrec.training.run import build_trainer, train
from tests.configs import make_config
from tests.datasets import ratings_table


def test_a_rate_is_the_root_of_the_share_of_new_ratings():
    counts = RowCounts.of(np.array([4, 100, 1000, 0, 3]), np.array([0, 75, 999, 0, 5]))
    assert counts.new.tolist() == [4, 25, 1, 0, 0]
    assert row_rates(counts).tolist() == pytest.approx([1.0, 0.5, LEAST, 1.0, LEAST])


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A run, and a run that continues from it on its data and 40 more ratings of which some are of new users."""
    place = tmp_path_factory.mktemp("rates")
    table = ratings_table(40, 25, 300).sort_values("timestamp", ignore_index=True)
    late = table.index >= 260
    table.loc[table.index >= 290, "userId"] += 5000
    table[~late].to_csv(place / "ratings.csv", index=False)
    table[late].to_csv(place / "day.csv", index=False)
    prepare(place / "data", PrepareOptions(ratings=place / "ratings.csv", shards=4))
    train(make_config(place / "data", place / "run", optimizer={"epochs": 2}), World())
    append(place / "data", AppendOptions(append=[str(place / "day.csv")]))
    train(make_config(place / "data", place / "next", init_from=place / "run", optimizer={"epochs": 1}), World())
    return place


def training_ratings(dataset: PreparedDataset) -> pd.DataFrame:
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    table = pd.DataFrame({"user": dataset.users["user"].to_numpy()[user], "movie": np.asarray(dataset.movie)})
    table["movie"] = dataset.movies["movie"].to_numpy()[table["movie"]]
    return table[np.asarray(dataset.split) == TRAIN]


@pytest.mark.slow
def test_runs_keep_the_training_ratings_of_their_rows_and_the_new_ones_of_these(grown):
    before, now = KeptRows.read(grown / "run"), KeptRows.read(grown / "next")
    table = training_ratings(PreparedDataset(grown / "data"))
    for node in ("user", "movie"):
        expected = table.groupby(node).size().reindex(now.ids(node), fill_value=0)
        assert now.counts[node].ratings.tolist() == expected.tolist()
        earlier = pd.Series(before.counts[node].ratings, before.ids(node)).reindex(now.ids(node), fill_value=0)
        assert now.counts[node].new.tolist() == (expected - earlier).tolist()
    assert (before.counts["user"].new == before.counts["user"].ratings).all()
    assert 0 < now.counts["user"].new.sum() < 40


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"user_rows": "host", "loader": {"seed_users": 8, "movies_per_user": 5}}])
def test_a_step_changes_a_row_by_its_share_of_the_change_without_rates(grown, options):
    dataset, rows = PreparedDataset(grown / "data"), KeptRows.read(grown / "next")
    changes = []
    for rates in (False, True):
        trainer = build_trainer(make_config(dataset.directory, grown / "unused", **options), dataset, World())
        if rates:
            trainer.row_rates = RowRates(trainer.replicated, trainer.users, trainer.part, rows)
        modules = {"user": trainer.users, "": trainer.replicated}
        before = {(kind, name): p.detach().clone() for kind, m in modules.items() for name, p in m.named_parameters()}
        trainer.constrain = lambda: None
        trainer.forward_backward(*trainer.make_batch(0, 0))
        trainer.update(0.01)
        now = {(kind, name): p for kind, m in modules.items() for name, p in m.named_parameters()}
        changes.append({key: (now[key] - before[key]).detach() for key in now})
    factors = {node: row_rates(rows.counts[node]) for node in ("user", "movie")}
    assert 0 < (factors["user"] < 1).sum() < len(rows.users)
    for (kind, name), plain in changes[0].items():
        node = "user" if kind else "movie" if name.startswith("movies.") else None
        factor = factors[node].view(-1, *[1] * (plain.dim() - 1)) if node else torch.tensor(LEAST)
        torch.testing.assert_close(changes[1][kind, name], factor * plain, rtol=1e-3, atol=2e-7)
    assert changes[0]["user", "id_embedding"].any() and changes[0]["", "movies.id_embedding"].any()


@pytest.mark.slow
def test_a_resumed_run_keeps_its_rates(grown, tmp_path):
    """Rates are in the run's own directory: the run that it continues from may be gone."""
    config = make_config(grown / "data", tmp_path / "run", init_from=grown / "run", optimizer={"epochs": 4})
    whole = train(config, World())
    part = dataclasses.replace(config, run_dir=tmp_path / "part", resume="auto", validate_every=1)

    class Stop(Exception):
        pass

    def stop(epoch, validation):
        if epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train(dataclasses.replace(part, checkpoint=dataclasses.replace(part.checkpoint, every_steps=1)), World(), stop)
    resumed = train(dataclasses.replace(part, checkpoint=dataclasses.replace(part.checkpoint, every_steps=1)), World())
    assert resumed["test_rmse"] == pytest.approx(whole["test_rmse"], rel=1e-6)
