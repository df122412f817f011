"""A run resumes from the newest sound checkpoint of the same run, and refuses everything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gnnrec.errors import Stopped, UserError
from gnnrec.training.checkpoint.info import checkpoints, step_of
from tests.datasets import write_dataset
from tests.training.runs import STEPS, STOP, config_of, run
from tests.training.test_resume import assert_same_run, learned


@pytest.fixture(scope="module")
def stopped(dataset, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Stopped):
        run(config_of(dataset, directory, checkpoint={"every_steps": 2, "keep": 3}), {13: STOP})
    assert len(checkpoints(directory, "step")) == 3
    return directory


@pytest.fixture
def run_dir(stopped, tmp_path) -> Path:
    """A copy of a stopped run with three checkpoints, which a test may damage."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def refusal(config) -> str:
    """The message of a refused run, one line; nothing in its directory changes."""
    before = {path: path.read_bytes() for path in config.run_dir.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as caught:
        run(config)
    assert {path: path.read_bytes() for path in config.run_dir.rglob("*") if path.is_file()} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model.pt", "optimizer.pt", "users-*.pt", "users_optimizer-*.pt", "checkpoint.json"])
@pytest.mark.parametrize("damage", [cut, flip, empty, Path.unlink])
def test_the_newest_sound_checkpoint_is_used(dataset, run_dir, uninterrupted, capsys, file, damage):
    newest, older, _ = checkpoints(run_dir, "step")
    (path,) = newest.glob(file)
    damage(path)
    run(config_of(dataset, run_dir))
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    (warning,) = [line for line in printed.err.splitlines() if line.startswith("warning")]
    assert (str(path) in warning or f"no {path.name}" in warning) and "falling back to an older checkpoint" in warning
    assert f"resumed at step {step_of(older)} of {run_dir}" in lines
    assert_same_run(uninterrupted, run_dir)


def test_a_changed_digit_of_the_description_is_noticed(dataset, run_dir, uninterrupted, capsys):
    path = checkpoints(run_dir, "step")[0] / "checkpoint.json"
    before = path.read_text()
    path.write_text(before.replace('"best": 0.', '"best": 1.', 1))
    assert path.read_text() != before
    run(config_of(dataset, run_dir))
    assert (
        "checkpoint.json is damaged (its checksum does not match): falling back to an older" in capsys.readouterr().err
    )
    assert_same_run(uninterrupted, run_dir)


def test_a_damaged_checkpoint_named_in_the_option_is_refused(dataset, run_dir):
    newest = checkpoints(run_dir, "step")[0]
    flip(newest / "optimizer.pt")
    message = refusal(config_of(dataset, run_dir, resume=newest.name))
    assert message.startswith(f"{newest / 'optimizer.pt'} does not match its checksum") and "--resume auto" in message


def test_a_run_without_a_sound_checkpoint_is_refused(dataset, run_dir):
    for checkpoint in checkpoints(run_dir, "step"):
        cut(checkpoint / "model.pt")
    message = refusal(config_of(dataset, run_dir))
    assert str(checkpoints(run_dir, "step")[0] / "model.pt") in message and "start again with --overwrite" in message


def test_an_older_checkpoint_can_be_named_in_the_option(dataset, run_dir, uninterrupted, capsys):
    oldest = checkpoints(run_dir, "step")[-1]
    run(config_of(dataset, run_dir, resume=str(oldest)))
    assert f"resumed at step {step_of(oldest)} of" in capsys.readouterr().out
    assert_same_run(uninterrupted, run_dir)


@pytest.mark.parametrize("name", ["step-0000000999", "best-0000000015", "nonsense"])
def test_a_missing_checkpoint_is_refused_with_the_existing_ones(dataset, run_dir, name):
    message = refusal(config_of(dataset, run_dir, resume=name))
    assert f"--resume {name}" in message and all(path.name in message for path in checkpoints(run_dir, "step"))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"optimizer": {"lr": 0.02}}, "--optimizer.lr 0.02: {} was started with 0.01:"),
        ({"model": {"dim": 9}}, "--model.dim 9: {} was started with 8:"),
        ({"seed": 7}, "--seed 7: {} was started with 0:"),
    ],
    ids=str,
)
def test_changed_options_are_refused_by_name(dataset, run_dir, options, names):
    assert names.format(f"the run of {run_dir}") in refusal(config_of(dataset, run_dir, **options))


def test_other_data_is_refused(dataset, run_dir, tmp_path):
    other = write_dataset(tmp_path / "other", validation=0.15, test=0.15, seed=5)
    assert str(other.directory) in refusal(config_of(other, run_dir))


def test_options_that_do_not_affect_training_may_change(dataset, run_dir, uninterrupted, tmp_path):
    moved = tmp_path / "moved"
    run_dir.rename(moved)
    config = config_of(dataset, moved, log_every=2, checkpoint={"every_minutes": 1, "keep": 1}, max_minutes=60.0)
    run(config)
    records = [[line for line in learned(path) if "loss" not in line] for path in (uninterrupted, moved)]
    assert records[0] == records[1] and len(records[0]) > 8


def test_a_finished_run_does_not_change(dataset, uninterrupted, capsys):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    summary = run(config_of(dataset, uninterrupted))
    assert f"{uninterrupted} finished at step {STEPS}" in capsys.readouterr().out
    assert summary == json.loads((uninterrupted / "summary.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")} == before
    assert "--resume auto" in refusal(config_of(dataset, uninterrupted, resume="never"))


def no_checkpoint_yet(directory: Path) -> None:
    directory.mkdir()
    (directory / "config.yaml").write_text("seed: 3")
    (directory / "metrics.jsonl").write_text('{"step": 1}\n')
    (directory / "checkpoints" / ".step-0000000002.tmp").mkdir(parents=True)


def killed_at_once(directory: Path) -> None:
    directory.mkdir()
    (directory / ".config.yaml.tmp-0a1b2c3d").write_text("se")


@pytest.mark.slow
@pytest.mark.parametrize("state", [lambda path: None, Path.mkdir, no_checkpoint_yet, killed_at_once])
def test_a_run_without_checkpoints_starts_at_step_0(dataset, tmp_path, uninterrupted, state: Callable[[Path], None]):
    state(tmp_path / "run")
    run(config_of(dataset, tmp_path / "run"))
    assert_same_run(uninterrupted, tmp_path / "run")
    assert not list((tmp_path / "run").rglob(".*"))


@pytest.mark.parametrize(("resume", "overwrite"), [("never", False), ("never", True), ("auto", False)])
def test_a_directory_without_a_run_is_refused(dataset, tmp_path, resume, overwrite):
    (tmp_path / "mine").write_text("x")
    assert "choose another --run-dir" in refusal(config_of(dataset, tmp_path, resume=resume, overwrite=overwrite))


def test_overwriting_and_resuming_exclude_each_other(dataset, run_dir):
    with pytest.raises(UserError, match="--overwrite starts again and --resume auto continues"):
        config_of(dataset, run_dir, overwrite=True)
