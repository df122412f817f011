"""A complete run on one rank: directory, records, best checkpoint, summary."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gnnrec.config.train_config import TrainConfig, read_train_config
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.evaluate import EvaluateOptions, evaluate
from gnnrec.training import run as run_module
from gnnrec.training.checkpoint.info import CheckpointInfo, checkpoint_path, find_checkpoint, read_info
from gnnrec.training.run import train
from gnnrec.training.run_directory import remove_replaced
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset
from tests.training.test_resume import CLOCK

EPOCHS, FOLDS = 12, 3
#: Overfits within a few epochs: the best epoch is not the last one.
OVERFITS = {
    "model": {"message_dropout": 0.0, "dropout": 0.0},
    "optimizer": {"epochs": EPOCHS, "lr": 0.1, "schedule": "constant"},
    "regularization": {"ids": 0.0, "messages": 0.0, "biases": 0.0},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("run"), validation=0.15, test=0.15)


def run_of(dataset: PreparedDataset, run_dir: Path, **options) -> tuple[TrainConfig, dict]:
    config = make_config(dataset.directory, run_dir, **{"log_every": 2, "device": "cpu"} | options)
    return config, train(config, World())


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """Configuration and summary of one finished run."""
    return run_of(dataset, tmp_path_factory.mktemp("runs") / "first", baselines=True, **OVERFITS)


def records(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def info_of(run_dir: Path, name: str) -> CheckpointInfo:
    return read_info(find_checkpoint(run_dir, name))


def counts_of(dataset: PreparedDataset) -> np.ndarray:
    return np.bincount(dataset.split, minlength=3)


@pytest.mark.slow
def test_the_summary_has_scores_counts_and_fingerprints(dataset, run):
    config, summary = run
    assert json.loads((config.run_dir / "summary.json").read_text()) == summary
    expected = {
        *("test_rmse", "test_mae", "validation_rmse", "validation_mae", "best_epoch", "steps", "baselines"),
        *("edges_per_second", "training_seconds", "peak_memory_gib", "counts", "world_size", "device", "partition"),
        *("dataset_fingerprint", "model_fingerprint", "gnnrec_version", "torch_version"),
    }
    assert expected <= set(summary)
    counts = counts_of(dataset)
    assert summary["counts"] == {
        "users": dataset.num_users,
        "movies": dataset.num_movies,
        "ratings": dataset.num_ratings,
        "training_ratings": counts[TRAIN],
        "validation_ratings": counts[VALIDATION],
        "test_ratings": counts[TEST],
    }
    assert summary["steps"] == EPOCHS * FOLDS and summary["world_size"] == 1
    assert summary["dataset_fingerprint"] == dataset.fingerprint
    assert set(summary["baselines"]) == {"global mean", "biases", "biased MF (ALS)"}
    assert 0 < summary["test_mae"] < summary["test_rmse"] < 3
    assert summary["edges_per_second"] == pytest.approx(EPOCHS * counts[TRAIN] / summary["training_seconds"])


def test_the_run_directory_can_be_read_without_the_program(run):
    config, _ = run
    assert {path.name for path in config.run_dir.iterdir()} == {
        "config.yaml",
        "started.json",
        "metrics.jsonl",
        "summary.json",
        "checkpoints",
        "dataset",
    }
    expected = {checkpoint_path(config.run_dir, "step", EPOCHS * FOLDS), find_checkpoint(config.run_dir, "best")}
    assert set((config.run_dir / "checkpoints").iterdir()) == expected
    assert read_train_config(config.run_dir / "config.yaml") == config


def test_records_are_in_order(run):
    config, _ = run
    all_records = records(config.run_dir)
    for name in ("step", "time"):
        values = [record[name] for record in all_records]
        assert all(a <= b for a, b in zip(values, values[1:]))
    losses = {record["step"]: record for record in all_records if "loss" in record}
    assert list(losses) == list(range(2, EPOCHS * FOLDS + 1, 2))
    assert all(record["epoch"] == (step - 1) // FOLDS for step, record in losses.items())
    validated = [record["step"] for record in all_records if "validation_rmse" in record]
    assert validated == [FOLDS * (epoch + 1) for epoch in range(EPOCHS)]
    assert all_records[-1]["test_rmse"] == run[1]["test_rmse"]


def test_the_loss_falls(run):
    losses = [record["loss"] for record in records(run[0].run_dir) if "loss" in record]
    assert losses[-1] < 0.5 * losses[0]


def test_the_best_checkpoint_is_of_the_lowest_validation_or_of_a_later_one(run):
    """The file test_best_epoch.py says which later one."""
    config, summary = run
    validations = [record for record in records(config.run_dir) if "validation_rmse" in record]
    rmse = [record["validation_rmse"] for record in validations]
    best = summary["best_epoch"] - 1
    assert len(rmse) == EPOCHS
    assert int(np.argmin([record["validation_rmse_without_time"] for record in validations])) <= best
    info = info_of(config.run_dir, "best")
    assert (info.epoch, info.step, info.validation["rmse"]) == (best + 1, FOLDS * (best + 1), rmse[best])
    assert summary["validation_rmse"] == pytest.approx(rmse[best], rel=1e-6)
    assert summary["model_fingerprint"] == info.fingerprint
    last = info_of(config.run_dir, "last")
    assert (last.epoch, last.step, last.validation["rmse"]) == (EPOCHS, EPOCHS * FOLDS, rmse[-1])


def test_evaluate_reproduces_the_summary(run):
    config, summary = run
    best = evaluate(config.run_dir, EvaluateOptions(), World())
    assert set(best) == {"validation", "test"}
    for name, (metrics, _) in best.items():
        assert metrics.rmse == pytest.approx(summary[f"{name}_rmse"], rel=1e-6)
        assert metrics.mae == pytest.approx(summary[f"{name}_mae"], rel=1e-6)
        assert metrics.count == summary["counts"][f"{name}_ratings"]
    last = evaluate(config.run_dir, EvaluateOptions(checkpoint="last"), World())
    # The best checkpoint alone contains the shrinkage that its validation chose; the last one is the state of training.
    recorded = info_of(config.run_dir, "last").validation["rmse_without_time"]
    assert summary["chosen"]["shrinkage"] < 1 and last["validation"][0].rmse_without_time > recorded
    assert last["test"][0].rmse != best["test"][0].rmse


def test_another_dataset_is_refused(run, tmp_path):
    other = write_dataset(tmp_path, seed=1)
    with pytest.raises(UserError, match="not the dataset .* was trained on"):
        evaluate(run[0].run_dir, EvaluateOptions(data=other.directory), World())


def learned(run_dir: Path) -> list[dict]:
    """Records without times and memory."""
    return [{name: value for name, value in record.items() if not CLOCK.search(name)} for record in records(run_dir)]


@pytest.mark.slow
@pytest.mark.parametrize("loader", [{}, SAMPLED], ids=["full", "sampled"])
def test_only_the_same_seed_gives_the_same_numbers(dataset, tmp_path, loader):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        run_of(dataset, tmp_path / name, seed=seed, loader=loader, model={"dropout": 0.2, "layers": 2})
    torch.set_num_threads(threads)
    assert len(learned(tmp_path / "a")) > 4
    assert learned(tmp_path / "a") == learned(tmp_path / "b")
    assert learned(tmp_path / "a") != learned(tmp_path / "c")


def test_refitting_trains_on_validation_and_does_not_validate(dataset, tmp_path):
    _, summary = run_of(dataset, tmp_path / "refit", refit=True, baselines=True)
    counts = counts_of(dataset)
    assert summary["counts"]["training_ratings"] == counts[TRAIN] + counts[VALIDATION]
    assert summary["counts"]["test_ratings"] == counts[TEST]
    assert summary["counts"]["validation_ratings"] == 0
    assert summary["validation_rmse"] is None and summary["validation_mae"] is None
    assert not [record for record in records(tmp_path / "refit") if "validation_rmse" in record]
    best, last = (info_of(tmp_path / "refit", name) for name in ("best", "last"))
    assert best.fingerprint == last.fingerprint and best.step == last.step
    assert best.epoch == 2 and best.validation == {}
    assert set(evaluate(tmp_path / "refit", EvaluateOptions(), World())) == {"test"}


@pytest.mark.parametrize(("max_steps", "epochs"), [(1, 1), (3, 1), (4, 2), (1000, 2)])
def test_max_steps_ends_the_run(dataset, tmp_path, max_steps, epochs):
    _, summary = run_of(dataset, tmp_path / "run", max_steps=max_steps, log_every=1)
    steps = min(max_steps, 2 * FOLDS)
    assert summary["steps"] == steps
    assert [record["step"] for record in records(tmp_path / "run") if "loss" in record] == list(range(1, steps + 1))
    last = info_of(tmp_path / "run", "last")
    assert (last.step, last.epoch) == (steps, epochs)
    assert (
        last.validation["rmse"]
        == [r for r in records(tmp_path / "run") if "validation_rmse" in r][-1]["validation_rmse"]
    )


@pytest.mark.parametrize(("every", "validated"), [(0, [5]), (2, [2, 4, 5]), (9, [5])])
def test_validation_runs_at_the_interval_and_at_the_end(dataset, tmp_path, every, validated):
    run_of(dataset, tmp_path / "run", validate_every=every, optimizer={"epochs": 5}, loader={"folds": 2})
    epochs = [record["step"] / 2 for record in records(tmp_path / "run") if "validation_rmse" in record]
    assert epochs == validated


def test_a_dataset_without_validation_keeps_its_last_epoch(tmp_path):
    dataset = write_dataset(tmp_path, validation=0.0)
    _, summary = run_of(dataset, tmp_path / "run")
    best, last = (info_of(tmp_path / "run", name) for name in ("best", "last"))
    assert best.fingerprint == last.fingerprint and best.epoch == last.epoch == 2
    assert summary["counts"]["validation_ratings"] == 0 and summary["validation_rmse"] is None
    # NaN is not JSON: only Python's reader accepts it.
    for name in ("summary.json", "metrics.jsonl"):
        assert "NaN" not in (tmp_path / "run" / name).read_text()


def test_a_dataset_without_test_ratings_trains(tmp_path, capsys):
    dataset = write_dataset(tmp_path, test=0.0)
    _, summary = run_of(dataset, tmp_path / "run", baselines=True)
    assert summary["test_rmse"] is None and summary["validation_rmse"] > 0
    assert "no test ratings" in capsys.readouterr().out


def test_a_run_directory_that_holds_a_run_is_refused_unchanged(dataset, run, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in run[0].run_dir.rglob("*")}
    with pytest.raises(UserError, match="holds a run already: .*--overwrite"):
        run_of(dataset, run[0].run_dir)
    assert {path: path.stat().st_mtime_ns for path in run[0].run_dir.rglob("*")} == before


def test_overwrite_replaces_a_run(dataset, tmp_path):
    run_of(dataset, tmp_path / "run", max_steps=1)
    (tmp_path / "run" / "old").write_text("x")
    _, summary = run_of(dataset, tmp_path / "run", max_steps=2, overwrite=True)
    assert summary["steps"] == 2
    assert not (tmp_path / "run" / "old").exists()
    assert [record["step"] for record in records(tmp_path / "run") if "loss" in record] == [2]


def test_overwrite_keeps_the_old_run_until_the_first_step(dataset, tmp_path, monkeypatch):
    config = make_config(dataset.directory, tmp_path / "run", max_steps=2)
    train(config, World())
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    again = dataclasses.replace(config, overwrite=True, seed=3)

    def refuse(*arguments):
        raise UserError("9 ranks on 8 shards")

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "build_trainer", refuse)
        for _ in range(2):
            with pytest.raises(UserError, match="9 ranks"):
                train(again, World())
            assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    aside = tmp_path / ".run.replaced"
    seen = []
    monkeypatch.setattr(run_module, "remove_replaced", lambda run: seen.append(aside.exists()) or remove_replaced(run))
    train(again, World())
    assert seen == [True, False] and not aside.exists()
    assert read_train_config(tmp_path / "run" / "config.yaml").seed == 3


def test_an_old_run_outlives_a_new_one_that_was_killed_before_its_first_step(dataset, tmp_path):
    config = make_config(dataset.directory, tmp_path / "run", max_steps=2)
    train(config, World())
    (tmp_path / "run").rename(tmp_path / ".run.replaced")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(config.yaml())
    with pytest.raises(UserError, match="holds a run already"):
        train(config, World())
    assert (tmp_path / ".run.replaced" / "summary.json").exists()
    train(dataclasses.replace(config, overwrite=True), World())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_overwrite_does_not_touch_a_directory_without_a_run(dataset, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("x")
    with pytest.raises(UserError, match="thesis is not a run directory"):
        run_of(dataset, tmp_path / "thesis", overwrite=True)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter"]


def test_a_finished_run_is_not_taken_for_another_one(dataset, tmp_path):
    config = make_config(dataset.directory, tmp_path / "run", max_steps=2)
    train(config, World())
    before = (tmp_path / "run" / "summary.json").read_bytes()
    again = dataclasses.replace(config, resume="auto", log_every=3)
    assert train(again, World()) == json.loads(before)
    others = write_dataset(tmp_path / "others", seed=1)
    for changed, message in (
        (dataclasses.replace(again, data=others.directory), "is not the dataset .* choose another --run-dir"),
        (dataclasses.replace(again, seed=5), "--seed 5: the run of .* was started with 0"),
        (dataclasses.replace(again, max_steps=3), "--max-steps 3: the run of .* was started with 2"),
    ):
        with pytest.raises(UserError, match=message):
            train(changed, World())
    assert (tmp_path / "run" / "summary.json").read_bytes() == before


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_lost_best_weights_are_replaced_by_the_last_ones(dataset, tmp_path, damage, caplog):
    config = make_config(dataset.directory, tmp_path / "run", max_steps=4)
    train(config, World())
    (tmp_path / "run" / "summary.json").unlink()
    best = find_checkpoint(tmp_path / "run", "best")
    if damage == "changed":
        (best / "model.pt").write_bytes(b"something else")
    else:
        shutil.rmtree(best)
    with caplog.at_level("WARNING", logger="gnnrec"):
        summary = train(dataclasses.replace(config, resume="auto"), World())
    assert "does not match its checksum" in summary["lost_best"] or damage == "missing"
    assert "the best weights will be those of the epochs that are left" in caplog.text
    assert summary["best_epoch"] == summary["epochs"] and summary["test_rmse"] > 0
    scores = evaluate(tmp_path / "run", EvaluateOptions(device="cpu", checkpoint="last"), World())
    assert scores["test"][0].rmse == pytest.approx(summary["test_rmse"], abs=1e-6)


def test_an_empty_directory_is_used(dataset, tmp_path):
    (tmp_path / "run").mkdir()
    assert run_of(dataset, tmp_path / "run", max_steps=1)[1]["steps"] == 1


def test_a_run_directory_that_cannot_be_written_is_named(dataset, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="--run-dir .*file/run: cannot write there"):
        run_of(dataset, tmp_path / "file" / "run")


def test_no_run_directory_is_made_for_missing_data(tmp_path):
    config = make_config(tmp_path / "nowhere", tmp_path / "run")
    with pytest.raises(UserError, match="nowhere is not a prepared dataset"):
        train(config, World())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["config.yaml", "checkpoints"])
def test_an_incomplete_run_cannot_be_evaluated(dataset, tmp_path, missing):
    config, _ = run_of(dataset, tmp_path / "run", max_steps=1)
    (tmp_path / "run" / missing).rename(tmp_path / "away")
    with pytest.raises(UserError, match=str(config.run_dir)):
        evaluate(config.run_dir, EvaluateOptions(), World())
