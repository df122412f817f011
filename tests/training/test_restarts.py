"""A job that torchrun restarts resumes the run that it had begun, and no other run."""

from __future__ import annotations

import gc
import os
import threading

import pytest

from gnnrec.errors import Stopped, UserError
from tests.training.runs import STEPS, STOP, config_of, run
from tests.training.test_resume import assert_same_run

pytestmark = pytest.mark.slow


@pytest.fixture
def torchrun(monkeypatch):
    """Sets the environment of a process that torchrun started: run id and number of restarts."""

    def set_environment(name: str, restarts: int) -> None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", name)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restarts))

    return set_environment


class Dies(Exception):
    pass


def die() -> None:
    raise Dies


OPTIONS = {"resume": "never", "checkpoint": {"every_steps": 2}}


@pytest.fixture
def died(dataset, tmp_path, torchrun):
    """Configuration of a run that torchrun's job ``first`` began and that died after eleven steps."""
    torchrun("first", 0)
    config = config_of(dataset, tmp_path / "run", **OPTIONS)
    with pytest.raises(Dies):
        run(config, {11: die})
    # The process would have died together with its threads, one of which is writing a checkpoint.
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("gnnrec-checkpoint"):
            thread.join(30)
    return config


def test_files_of_a_dying_job_are_not_required_to_vanish(died, torchrun, monkeypatch):
    """An older job still writes on another machine, and the directory that it writes to cannot be removed."""
    leftover = died.run_dir / "checkpoints" / ".step-0000000010.tmp"
    leftover.mkdir(exist_ok=True)
    monkeypatch.setattr(os, "rmdir", lambda *arguments, **options: os.listdir("/dev/null"))
    torchrun("first", 1)
    with pytest.raises(Stopped):
        run(died, {5: STOP})
    assert leftover.exists()


def test_a_restart_resumes_without_the_option(dataset, died, torchrun, tmp_path, capsys):
    torchrun("first", 1)
    run(died)
    assert "resumed at step 8 of" in capsys.readouterr().out
    assert run(died)["steps"] == STEPS, "restarted after its end"
    assert f"finished at step {STEPS}" in capsys.readouterr().out
    torchrun("other", 0)
    run(config_of(dataset, tmp_path / "uninterrupted"))
    assert_same_run(tmp_path / "uninterrupted", died.run_dir)


@pytest.mark.parametrize(("name", "restarts"), [("first", 0), ("second", 0), ("second", 1), ("none", 1)])
def test_another_job_does_not_resume(died, torchrun, name, restarts):
    """A job that was refused is refused again when it is restarted."""
    torchrun(name, restarts)
    with pytest.raises(UserError, match="holds a run already"):
        run(died)


def test_a_job_that_died_before_overwriting_overwrites_after_a_restart(dataset, died, torchrun, capsys):
    """The restarted job resumes only a run that it has begun itself."""
    torchrun("second", 1)
    run(config_of(dataset, died.run_dir, **OPTIONS, overwrite=True))
    assert "resumed" not in capsys.readouterr().out
    # From here on the run is its own.
    torchrun("second", 2)
    run(config_of(dataset, died.run_dir, **OPTIONS, overwrite=True))
    assert f"finished at step {STEPS}" in capsys.readouterr().out


def test_a_restart_does_not_undo_a_stop(dataset, tmp_path, torchrun):
    torchrun("first", 0)
    config = config_of(dataset, tmp_path / "run", **OPTIONS)
    with pytest.raises(Stopped):
        run(config, {4: STOP})
    torchrun("first", 1)
    with pytest.raises(Stopped, match="before torchrun restarted it"):
        run(config)
    torchrun("first", 2)
    with pytest.raises(Stopped, match="before torchrun restarted it"):
        run(config)
    # Another job resumes the run if its options say so.
    torchrun("second", 0)
    assert run(config_of(dataset, tmp_path / "run"))["steps"] == STEPS


def test_a_stop_for_new_nodes_does_not_stop_the_job(dataset, died, torchrun, capsys):
    """torchrun stops the ranks when a node joins, and starts all of them again, without counting a restart."""
    torchrun("first", 1)
    with pytest.raises(Stopped):
        run(died, {5: STOP})
    run(died)
    assert capsys.readouterr().out.count("resumed at step") == 2
    assert (died.run_dir / "summary.json").exists() and not (died.run_dir / "stopped.json").exists()


@pytest.mark.parametrize("log_every", [1, 1000])
def test_the_later_of_two_jobs_takes_over_the_run(dataset, tmp_path, log_every):
    """A job is submitted twice: the first one ends before it writes again."""
    options = {"checkpoint": {"every_steps": 2}, "log_every": log_every}
    run(config_of(dataset, tmp_path / "uninterrupted", log_every=log_every))
    config = config_of(dataset, tmp_path / "run", **options)
    with pytest.raises(UserError, match="another job"):
        run(config, {7: lambda: run(config)})
    assert_same_run(tmp_path / "uninterrupted", config.run_dir)
