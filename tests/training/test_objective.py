"""The objective auto: the one that fits the data, recorded in the run, with the defaults of that objective."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gnnrec.config.train_config import TrainConfig, parse_train_config, read_train_config
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.ranking.trainer import RankingTrainer
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.resolve_config import log_objective, resolve_config
from gnnrec.training.run import build_trainer, train
from tests.datasets import ratings_table, write_dataset

QUICK = ["--wandb.mode=disabled", "--baselines=false", "--max-steps=3", "--model.dim=4", "--ranking.dim=4"]


def config_for(directory: Path, *more: str) -> TrainConfig:
    return parse_train_config([f"--data={directory}", f"--run-dir={directory.parent / 'run'}", *more])


@pytest.fixture
def ratings(tmp_path) -> PreparedDataset:
    return write_dataset(tmp_path / "ratings")


def log_without_ratings(place: Path, **columns) -> PreparedDataset:
    table = ratings_table(40, 20, 400).drop(columns="rating").assign(**columns)
    table.to_csv(place / "log.csv", index=False)
    options = {} if columns else {"implicit": True}
    prepare(place / "data", PrepareOptions(ratings=place / "log.csv", validation=0.1, shards=4, **options))
    return PreparedDataset(place / "data")


def test_defaults_of_ratings_are_those_of_an_explicit_objective(ratings, capsys):
    automatic, explicit = (config_for(ratings.directory, *more) for more in ([], ["--objective", "rating"]))
    assert (automatic.objective, explicit.objective) == ("auto", "rating")
    assert automatic.optimizer.lr is None and explicit.optimizer.lr == 0.01
    resolved = resolve_config(automatic, ratings, World())
    assert resolved == resolve_config(explicit, ratings, World()) == explicit
    assert (resolved.optimizer.lr, resolved.optimizer.warmup_steps, resolved.optimizer.epochs) == (0.01, 50, 20)
    log_objective(automatic, ratings, World())
    log_objective(explicit, ratings, World())
    printed = capsys.readouterr().out
    assert printed.count("objective: rating, since there are ratings from 0.5 to 5 (--objective ranking ranks") == 1
    assert resolve_config(resolved, ratings, World()) == resolved


def test_an_option_that_is_given_stays(ratings):
    resolved = resolve_config(config_for(ratings.directory, "--lr=0.3", "--epochs=2"), ratings, World())
    assert (resolved.optimizer.lr, resolved.optimizer.epochs, resolved.optimizer.warmup_steps) == (0.3, 2, 50)


def test_an_explicit_objective_stays(ratings, capsys):
    resolved = resolve_config(config_for(ratings.directory, "--objective=ranking"), ratings, World())
    assert resolved.objective == "ranking" and resolved.optimizer.lr == 2e-4
    log_objective(config_for(ratings.directory, "--objective=ranking"), ratings, World())
    assert "objective:" not in capsys.readouterr().out


def test_logs_without_ratings_are_ranked(tmp_path, capsys):
    dataset = log_without_ratings(tmp_path)
    resolved = resolve_config(config_for(dataset.directory), dataset, World())
    assert resolved.objective == "ranking" and (resolved.optimizer.lr, resolved.optimizer.epochs) == (2e-4, 8)
    log_objective(config_for(dataset.directory), dataset, World())
    assert "objective: ranking, since the data are a log without ratings\n" in capsys.readouterr().out
    with pytest.raises(UserError, match="has no ratings to predict"):
        resolve_config(config_for(dataset.directory, "--objective=rating"), dataset, World())


@pytest.mark.parametrize("protocol", ["strong", "leave-last"])
def test_data_that_were_prepared_for_ranking_are_ranked(tmp_path, protocol, capsys):
    dataset = write_dataset(tmp_path, protocol=protocol, least_relevant=2)
    assert resolve_config(config_for(dataset.directory), dataset, World()).objective == "ranking"
    log_objective(config_for(dataset.directory), dataset, World())
    assert f"since the data were prepared for it (--protocol {protocol})" in capsys.readouterr().out


def test_equal_ratings_are_all_liked(tmp_path, capsys):
    dataset = log_without_ratings(tmp_path, rating=1.0)
    resolved = resolve_config(config_for(dataset.directory), dataset, World())
    assert (resolved.objective, resolved.ranking.relevant) == ("ranking", 1.0)
    log_objective(config_for(dataset.directory), dataset, World())
    assert "objective: ranking, since all ratings are 1\n" in capsys.readouterr().out


def test_two_distinct_ratings_are_predicted(tmp_path):
    dataset = log_without_ratings(tmp_path, rating=lambda table: table["userId"] % 2)
    assert resolve_config(config_for(dataset.directory), dataset, World()).objective == "rating"


def test_trainers_are_those_of_the_objective(tmp_path, ratings):
    log = log_without_ratings(tmp_path)
    assert isinstance(build_trainer(config_for(log.directory, *QUICK), log, World()), RankingTrainer)
    assert isinstance(build_trainer(config_for(ratings.directory, *QUICK), ratings, World()), RatingTrainer)
    assert RatingTrainer(config_for(ratings.directory, *QUICK), ratings, World()).config.optimizer.epochs == 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rating", "ranking"])
def test_the_run_records_the_objective_and_is_resumed(tmp_path, kind, capsys):
    dataset = write_dataset(tmp_path / "ratings") if kind == "rating" else log_without_ratings(tmp_path)
    options = [*QUICK, "--interest.enabled=false"]
    summary = train(config_for(dataset.directory, *options), World())
    recorded = read_train_config(dataset.directory.parent / "run" / "config.yaml")
    assert recorded.objective == kind and "objective: auto" not in recorded.yaml()
    again = train(config_for(dataset.directory, *options, "--resume=auto"), World())
    assert again == summary and "nothing left to do" in capsys.readouterr().out
    explicit = config_for(dataset.directory, *options, "--resume=auto", f"--objective={kind}")
    assert train(explicit, World()) == summary
    if kind == "rating":
        other = dataclasses.replace(config_for(dataset.directory, *options, "--resume=auto"), objective="ranking")
        with pytest.raises(UserError, match="--objective ranking: the run of .* was started with rating"):
            train(other, World())
