"""``gnnrec tune`` gives the same study with interruptions and on any number of ranks, without test ratings."""

from __future__ import annotations

import csv
import fcntl
import functools
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from gnnrec.config.train_config import parse_train_config, read_train_config
from gnnrec.config.training_options import RegularizationOptions
from gnnrec.data.prepared import TEST, TEST_INPUT, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.tools.tuning import tune as tuning
from gnnrec.tools.tuning.tune import TuneOptions, first_rung, tune
from gnnrec.training.run import train
from gnnrec.training.tracking.tracker import WandbOptions
from tests.datasets import changed_copy, write_dataset
from tests.distributed.ranks import run_on_ranks

SMALL = ["model.dim=4", "loader.folds=2", "optimizer.epochs=4", "device=cpu"]
RANKING = ["objective=ranking", "ranking.dim=8", "optimizer.epochs=2", "device=cpu"]
#: Options of a study on data of each protocol.
OF_PROTOCOL = {"random": {}, "strong": {"set": RANKING, "trials": 4}, "leave-last": {"set": RANKING, "trials": 4}}
PROTOCOLS = list(OF_PROTOCOL)
TRIALS = 7


def options(out: Path, trials: int = TRIALS, **others) -> TuneOptions:
    given = {"set": SMALL, "space": "all", "wandb": WandbOptions(mode="disabled")} | others
    return TuneOptions(out=out, trials=trials, **given)


def table(out: Path) -> list[dict]:
    return list(csv.DictReader((out / "trials.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A dataset of each protocol."""

    @functools.cache
    def make(protocol: str) -> PreparedDataset:
        place = tmp_path_factory.mktemp(protocol)
        if protocol == "random":
            return write_dataset(place, validation=0.15, test=0.15)
        return write_dataset(place, users=120, movies=40, ratings=2400, protocol=protocol)

    return make


@pytest.fixture(scope="module")
def study_of(prepared, tmp_path_factory):
    """The directory of a finished study of each protocol."""

    @functools.cache
    def finished(protocol: str) -> Path:
        out = tmp_path_factory.mktemp("studies") / protocol
        tune(prepared(protocol).directory, options(out, **OF_PROTOCOL[protocol]), World())
        return out

    return finished


@pytest.fixture(scope="module")
def dataset(prepared) -> PreparedDataset:
    return prepared("random")


@pytest.fixture(scope="module")
def study(study_of) -> Path:
    return study_of("random")


@pytest.mark.slow
def test_the_first_trial_is_the_default_and_some_are_pruned(study):
    rows = table(study)
    assert [int(row["trial"]) for row in rows] == list(range(1, TRIALS + 1))
    assert (rows[0]["strength"], rows[0]["messages"], rows[0]["dropout"], rows[0]["lr"]) == ("1.0", "1.0", "0.1", "1.0")
    assert {(row["pruned"], row["epochs"]) for row in rows} == {("False", "4"), ("True", str(first_rung(4)))}
    assert len({row["strength"] for row in rows}) == TRIALS


@pytest.mark.slow
def test_the_result_is_the_best_trial_and_trains_to_its_loss(dataset, study, tmp_path):
    best = min((row for row in table(study) if row["pruned"] == "False"), key=lambda row: float(row["validation_loss"]))
    config = read_train_config(study / "best.yaml")
    assert config.regularization.ids == pytest.approx(RegularizationOptions().ids * float(best["strength"]))
    assert config.model.dropout == float(best["dropout"]) and config.model.dim == 4
    assert config.data == dataset.directory
    given = ["--config", str(study / "best.yaml"), "--run-dir", str(tmp_path), "--wandb.mode", "disabled"]
    summary = train(parse_train_config(given), World())
    assert summary["validation_rmse_without_time"] == pytest.approx(float(best["validation_loss"]), rel=1e-6)


@pytest.mark.slow
def test_a_study_in_parts_is_the_same_study(dataset, study, tmp_path, monkeypatch):
    tune(dataset.directory, options(tmp_path, trials=2), World())
    build, calls = tuning.build_trainer, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return build(*arguments)

    monkeypatch.setattr(tuning, "build_trainer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(dataset.directory, options(tmp_path), World())
    assert len(table(tmp_path)) == 4 and (tmp_path / "best.yaml").is_file()
    tune(dataset.directory, options(tmp_path), World())
    assert (tmp_path / "trials.csv").read_text() == (study / "trials.csv").read_text()


def test_a_finished_study_only_prints_its_result(dataset, study, tmp_path, monkeypatch, capsys):
    shutil.copytree(study, tmp_path / "copy")
    (tmp_path / "copy" / "best.yaml").unlink()
    monkeypatch.setattr(tuning, "build_trainer", None)
    tune(dataset.directory, options(tmp_path / "copy", trials=3), World())
    assert "train with it" in capsys.readouterr().out
    assert (tmp_path / "copy" / "best.yaml").is_file()


def test_another_seed_draws_other_settings(dataset, study, tmp_path):
    tune(dataset.directory, options(tmp_path, trials=2, seed=1), World())
    first, second = table(tmp_path)
    assert first == table(study)[0] and second["strength"] != table(study)[1]["strength"]


def on_ranks(world: World, data: Path, out: Path) -> dict:
    return tune(data, options(out), world).as_dict()


@pytest.mark.slow
def test_two_ranks_search_like_one(dataset, study, tmp_path):
    first, second = run_on_ranks(2, on_ranks, dataset.directory, tmp_path)
    assert first == second
    for expected, found in zip(table(study), table(tmp_path), strict=True):
        assert (found["pruned"], found["epochs"]) == (expected["pruned"], expected["epochs"])
        for name in ("strength", "dropout", "validation_loss"):
            assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-4)


def refused_on_ranks(world: World, data: Path, out: Path) -> str:
    with pytest.raises(UserError) as error:
        tune(data, options(out, seed=5), world)
    return str(error.value)


@pytest.mark.slow
def test_every_rank_raises_the_error(dataset, study):
    assert set(run_on_ranks(2, refused_on_ranks, dataset.directory, study)) == {
        f"{study} holds a study of another seed: choose another --out"
    }


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_test_ratings_change_nothing(prepared, study_of, protocol, tmp_path):
    source, whole = prepared(protocol), study_of(protocol)
    rating, split = np.array(source.rating), np.array(source.split)
    hidden = (split == TEST) | (split == TEST_INPUT)
    assert hidden.sum() > 20
    rating[hidden] = 5.5 - rating[hidden]
    changed_copy(source, tmp_path / "changed", rating=rating)
    tune(tmp_path / "changed", options(tmp_path / "study", **OF_PROTOCOL[protocol]), World())
    assert (tmp_path / "study" / "trials.csv").read_text() == (whole / "trials.csv").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_test_ratings_are_not_read(prepared, study_of, protocol, tmp_path, monkeypatch):
    asked = []

    def guarded(read):
        def guard(dataset, part, splits, *rest, **named):
            asked.append(splits)
            assert not {TEST, TEST_INPUT} & set(splits), "test ratings are being read"
            return read(dataset, part, splits, *rest, **named)

        return guard

    for name, module in list(sys.modules.items()):
        for reader in ("read_edges", "read_interactions"):
            if name.startswith("gnnrec.") and hasattr(module, reader):
                monkeypatch.setattr(module, reader, guarded(getattr(module, reader)))
    tune(prepared(protocol).directory, options(tmp_path, **OF_PROTOCOL[protocol] | {"trials": 2}), World())
    assert len(asked) >= 4
    assert table(tmp_path) == table(study_of(protocol))[:2]
    given = ["--config", str(tmp_path / "best.yaml"), "--run-dir", str(tmp_path / "run"), "--wandb.mode", "disabled"]
    with pytest.raises(AssertionError, match="test ratings are being read"):
        train(parse_train_config(given), World())


def test_a_diverging_trial_is_pruned_at_once(dataset, tmp_path):
    wild = [*SMALL, "optimizer.lr=1e30", "optimizer.name=sgd", "optimizer.warmup_steps=0"]
    with pytest.raises(UserError, match="no trial .* has a finite validation loss"):
        tune(dataset.directory, options(tmp_path, trials=2, set=wild), World())
    assert [(row["pruned"], row["validation_loss"]) for row in table(tmp_path)] == [("True", "")] * 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"set": [*SMALL, "model.layers=2"]}, "holds a study of another configuration: choose another --out"),
        ({"space": "optimizer"}, "holds a study of another space"),
        ({"space": "everything"}, "--space everything: choose one of"),
        ({"trials": 0}, "--trials 0: must be at least 1"),
        ({"set": [*SMALL, "refit=true"]}, "needs validation ratings: leave out --refit"),
        ({"set": ["model.layers"]}, "--set model.layers: write OPTION=VALUE"),
        ({"set": ["model.layer=2"]}, "did you mean --model.layers"),
        ({"config": Path("nowhere.yaml")}, "--config nowhere.yaml: there is no such file"),
    ],
)
def test_bad_options_are_refused(dataset, study, changed, message):
    before = (study / "study.log").read_bytes()
    with pytest.raises(UserError, match=message):
        tune(dataset.directory, options(study, **changed), World())
    assert (study / "study.log").read_bytes() == before


def test_another_dataset_is_refused(study, tmp_path):
    other = write_dataset(tmp_path, seed=1, validation=0.15, test=0.15)
    with pytest.raises(UserError, match="holds a study of another dataset"):
        tune(other.directory, options(study), World())


def test_a_dataset_without_validation_is_refused(tmp_path):
    other = write_dataset(tmp_path, validation=0.0)
    with pytest.raises(UserError, match="prepare it with --validation above 0"):
        tune(other.directory, options(tmp_path / "out"), World())
    assert not (tmp_path / "out").exists()


def test_one_process_at_a_time(dataset, study):
    with open(study / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(UserError, match="another gnnrec tune uses"):
            tune(dataset.directory, options(study), World())


def test_a_damaged_journal_is_named(dataset, tmp_path):
    (tmp_path / "study.log").write_text("not a journal\n" * 3)
    with pytest.raises(UserError, match="study.log is damaged"):
        tune(dataset.directory, options(tmp_path), World())


def test_a_directory_that_cannot_be_written_is_named(dataset, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="--out .*file/out: cannot write there"):
        tune(dataset.directory, options(tmp_path / "file" / "out"), World())


def test_a_missing_optuna_is_an_error_with_the_install_command(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"optuna is not installed: pip install 'gnnrec\[tune\]'"):
        tune(dataset.directory, options(tmp_path), World())


@pytest.mark.slow
def test_each_trial_is_logged(dataset, tmp_path):
    tune(dataset.directory, options(tmp_path, trials=2, wandb=WandbOptions(mode="offline")), World())
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2 and all('"strength"' in line and '"best_validation_loss"' in line for line in lines)
