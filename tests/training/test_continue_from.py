"""A run continues from another run's weights and optimizer state, by raw id, over data that have grown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gnnrec.config.train_config import TrainConfig
from gnnrec.config.training_options import OptimizerOptions
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.checkpoint.read import read_replicated
from gnnrec.training.checkpoint.rows import RowFiles
from gnnrec.training.continue_from import continue_from
from gnnrec.training.kept_rows import KeptRows
from gnnrec.training.run import build_trainer, train
from tests.configs import make_config
from tests.datasets import ratings_table
from tests.distributed.ranks import run_on_ranks


def prepared(place: Path, table: pd.DataFrame, movies: pd.DataFrame) -> PreparedDataset:
    place.mkdir()
    table.to_csv(place / "ratings.csv", index=False)
    movies.to_csv(place / "movies.csv", index=False)
    prepare(place / "data", PrepareOptions(ratings=place, movie_features=[place / "movies.csv"], shards=5))
    return PreparedDataset(place / "data")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, PreparedDataset]:
    """A run, and its data with new users, a new movie, a new genre and a new rating level, in another order of rows."""
    place = tmp_path_factory.mktemp("continue")
    table = ratings_table(30, 20, 250)
    table["rating"] = np.ceil(table["rating"])
    ids = np.unique(table["movieId"])
    movies = pd.DataFrame({"movieId": ids, "title": [f"Film {each}" for each in ids], "genres": "Drama|Comedy"})
    movies.loc[::2, "genres"] = "War"
    before = prepared(place / "before", table, movies)
    new = pd.DataFrame({"userId": [9001, 9001, 9002], "movieId": [ids[0], 9999, 9999], "rating": [4.5, 2.0, 3.0]})
    new["timestamp"] = 1_500_000_000
    more = pd.DataFrame({"movieId": [9999], "title": ["New"], "genres": ["Noir|War"]})
    after = prepared(place / "after", pd.concat([new, table]), pd.concat([more, movies]))
    train(make_config(before.directory, place / "run", optimizer={"lr": 0.05, "epochs": 3}), World())
    return place / "run", after


def trainer_of(dataset: PreparedDataset, world: World | None = None, run: Path = Path("unused"), **options):
    return build_trainer(make_config(dataset.directory, run, seed=7, **options), dataset, world or World())


def test_rows_go_with_their_ids(made):
    run, after = made
    fresh, continued = trainer_of(after), trainer_of(after)
    continue_from(continued, run)
    kept, rows = KeptRows.read(run), KeptRows.of(after)
    best, last = find_checkpoint(run, "best"), find_checkpoint(run, "last")
    weights = read_replicated(best, "model", read_info(best))
    state = read_replicated(last, "optimizer", read_info(last))
    names = {
        "movies.id_embedding": (kept.movies, rows.movies),
        "movie_features.tables.id_embedding": (kept.features["movie"], rows.features["movie"]),
        "encoder.layers.0.to_users.rating": (kept.levels, rows.levels),
    }
    values = dict(continued.replicated.named_parameters())
    for name, (old, now) in names.items():
        moments = continued.optimizers[0].state[values[name]]["exp_avg_sq"]
        assert set(now) > set(old), name
        for row, key in enumerate(now):
            if key in old:
                before = old.get_loc(key)
                torch.testing.assert_close(values[name][row], weights[name][before], rtol=0, atol=0)
                torch.testing.assert_close(moments[row], state[f"{name}/exp_avg_sq"][before], rtol=0, atol=0)
            else:
                initial = dict(fresh.replicated.named_parameters())[name][row]
                expected = torch.zeros_like(initial) if name.startswith("movies.") else initial
                torch.testing.assert_close(values[name][row], expected, rtol=0, atol=0)
                assert not moments[row].any()
    stored = RowFiles(best, "users", read_info(best)).pick(torch.arange(len(kept.users)))["id_embedding"]
    for row, user in enumerate(rows.users):
        expected = stored[kept.users.get_loc(user)] if user in kept.users else torch.zeros(stored.shape[1])
        torch.testing.assert_close(continued.users.tables()["id_embedding"][row], expected, rtol=0, atol=0)


def test_the_same_data_give_the_error_of_the_other_run(made):
    run = made[0]
    before = PreparedDataset(run.parent / "before" / "data")
    continued = trainer_of(before)
    continue_from(continued, run)
    validation = read_info(find_checkpoint(run, "best")).validation
    assert continued.validate().loss == pytest.approx(validation["rmse_without_time"], rel=1e-5)


def continue_on_rank(world: World, data: str, run: str, out: str, options: dict) -> dict:
    config = make_config(Path(data), Path(out), init_from=Path(run), **options)
    return train(config, world)


@pytest.mark.slow
@pytest.mark.processes
def test_two_ranks_continue_as_one(made, tmp_path):
    run, after = made
    arguments = str(after.directory), str(run)
    one = run_on_ranks(1, continue_on_rank, *arguments, str(tmp_path / "one"), {})[0]
    two = run_on_ranks(2, continue_on_rank, *arguments, str(tmp_path / "two"), {"user_rows": "host"})[0]
    assert two["test_rmse"] == pytest.approx(one["test_rmse"], rel=1e-5)


def test_a_continued_run_has_a_short_schedule_unless_told_otherwise(tmp_path):
    config = TrainConfig(tmp_path, tmp_path / "run", "rating", optimizer=OptimizerOptions(epochs=5), init_from=tmp_path)
    assert (config.optimizer.epochs, config.optimizer.warmup_steps, config.optimizer.lr) == (5, 0, 0.006)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": {"layers": 2}}, "--model.layers 2: .* was trained with 1"),
        ({"objective": "ranking"}, "ranking models start from a closed form"),
    ],
)
def test_another_model_is_refused(made, tmp_path, options, message):
    run, after = made
    with pytest.raises(UserError, match=message):
        train(make_config(after.directory, tmp_path / "run", init_from=run, **options), World())


def test_a_run_without_ids_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not say which users and movies"):
        KeptRows.read(tmp_path)
