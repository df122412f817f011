"""Early stopping ends a run where the validation losses of the whole run say so, however it is divided or stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.run import train
from gnnrec.training.train_state import TrainState
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.reporting.conftest import page_of
from tests.training.test_resume import assert_same_run, learned, run
from tests.training.test_run import EPOCHS, FOLDS, OVERFITS


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("early"), validation=0.15, test=0.15, shards=8)


def config_of(dataset: PreparedDataset, run_dir: Path, patience: int, **options) -> TrainConfig:
    optimizer = OVERFITS["optimizer"] | {"patience": patience} | options.pop("optimizer", {})
    options = OVERFITS | {"log_every": 2, "device": "cpu", "resume": "auto"} | options
    return make_config(dataset.directory, run_dir, **options | {"optimizer": optimizer})


def validations(run_dir: Path) -> list[float]:
    return [record["validation_rmse_without_time"] for record in learned(run_dir) if "validation_rmse" in record]


def last_validation(losses: list[float], patience: int) -> int:
    """Number of validations until none of the last ``patience`` is the lowest so far; all if that never happens."""
    for count in range(1, len(losses) + 1):
        if count - 1 - losses.index(min(losses[:count])) >= patience:
            return count
    return len(losses)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory) -> Path:
    """A run that never stops early."""
    place = tmp_path_factory.mktemp("whole") / "run"
    summary = run(config_of(dataset, place, 0))
    assert summary["stopped_early"] is False and summary["epochs"] == EPOCHS == len(validations(place))
    return place


@pytest.mark.slow
@pytest.mark.parametrize(("patience", "every"), [(1, 1), (2, 1), (1, 2), (EPOCHS, 1)])
def test_a_run_ends_where_the_validations_of_the_whole_run_say(dataset, whole, tmp_path, patience, every, capsys):
    summary = run(config_of(dataset, tmp_path / "run", patience, validate_every=every))
    expected = last_validation(validations(whole)[every - 1 :: every], patience) * every
    assert summary["epochs"] == expected and summary["steps"] == expected * FOLDS
    assert summary["stopped_early"] == (expected < EPOCHS) == (patience < EPOCHS)
    ours = [record for record in learned(tmp_path / "run") if "loss" in record]
    assert ours == [record for record in learned(whole) if "loss" in record][: len(ours)]
    assert read_info(find_checkpoint(tmp_path / "run", "best")).epoch == summary["best_epoch"]
    facts = page_of(tmp_path / "run", users=1).facts
    assert facts.get("stopped early") == (f"after {expected} of {EPOCHS} epochs" if expected < EPOCHS else None)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_stops_and_ranks_change_nothing(dataset, whole, tmp_path, ranks):
    config = config_of(dataset, tmp_path / "a", 2, checkpoint={"every_steps": FOLDS})
    summary = run(config, ranks)
    assert summary["epochs"] == last_validation(validations(whole), 2) < EPOCHS
    stops, again = 0, config_of(dataset, tmp_path / "b", 2, checkpoint={"every_steps": FOLDS})
    while isinstance(result := run(again, ranks, reads=3 + 5 * ranks * stops), str):
        stops += 1
        assert stops < 40
    assert stops >= 2
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert (result["steps"], result["stopped_early"]) == (summary["steps"], True)
    # A job that is killed before its summary only writes that, also from a checkpoint before the last validation.
    (tmp_path / "b" / "summary.json").unlink()
    assert run(again, ranks)["steps"] == summary["steps"]
    assert_same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_rankings_stop_too(dataset, tmp_path, capsys):
    options = {"objective": "ranking", "ranking": {"dim": 4, "users_a_step": 5, "start": "random"}}
    optimizer = {"epochs": 40, "lr": 0.3}
    summary = train(config_of(dataset, tmp_path / "run", 2, optimizer=optimizer, **options), World())
    losses = [-record["validation_ndcg@100"] for record in learned(tmp_path / "run") if "validation_ndcg@100" in record]
    assert summary["epochs"] == len(losses) == last_validation(losses, 2) < 40
    line = f"stopped early after {len(losses)} of 40 epochs: the last 2 validations are not better than the best one"
    assert line in capsys.readouterr().out


def test_validations_are_counted():
    state = TrainState.start(World())
    found = [(state.add_validation(loss), state.out_of_patience(2)) for loss in (3.0, 2.0, 2.0, 1.0, 1.5, 1.0, 0.5)]
    expected = [(1, 0), (1, 0), (0, 0), (1, 0), (0, 0), (0, 1), (1, 0)]
    assert [tuple(map(int, pair)) for pair in found] == expected
    again = TrainState.from_dict(json.loads(json.dumps(state.as_dict(World()))), World(), Path("step-1"))
    assert (again.best, again.validations_since_best) == (0.5, 0) and not state.out_of_patience(0)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"refit": True}, "--refit true"),
        ({"refit": "all"}, "--refit all"),
        ({"validate_every": 0}, "--validate-every 0"),
    ],
)
def test_runs_without_validation_have_no_patience(options, cause):
    with pytest.raises(UserError, match=f"^--optimizer.patience 2 counts validations, and {cause} has none"):
        make_config(optimizer={"patience": 2}, **options)


def test_data_without_validation_ratings_are_refused(tmp_path):
    dataset = write_dataset(tmp_path, validation=0.0, test=0.15)
    with pytest.raises(UserError, match="--optimizer.patience 2 needs validation ratings, and .* has none"):
        train(config_of(dataset, tmp_path / "run", 2), World())
    assert not (tmp_path / "run").exists()
