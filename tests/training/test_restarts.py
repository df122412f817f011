"""What torchrun starts again goes on with what it had begun, and with nothing else."""

from __future__ import annotations

import gc
import os
import threading

import pytest

from gnnrec.errors import Stopped, UserError
from tests.training.runs import STEPS, STOP, config_of, run
from tests.training.test_resume import assert_same_run


@pytest.fixture
def torchrun(monkeypatch):
    """Makes this process one that torchrun started: its name, and how often it has started again."""

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
    """The configuration of a run, begun by torchrun's job ``first``, that died after eleven steps."""
    torchrun("first", 0)
    config = config_of(dataset, tmp_path / "run", **OPTIONS)
    with pytest.raises(Dies):
        run(config, {11: die})
    # With the process its threads would have died, one of which is writing a checkpoint.
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("gnnrec-checkpoint"):
            thread.join(30)
    return config


def test_what_an_older_job_still_writes_is_left_to_it(died, torchrun, monkeypatch):
    """It is dying on another machine, and its files cannot be removed from under it."""
    leftover = died.run_dir / "checkpoints" / ".step-0000000010.tmp"
    leftover.mkdir(exist_ok=True)
    monkeypatch.setattr(os, "rmdir", lambda *arguments, **options: os.listdir("/dev/null"))
    torchrun("first", 1)
    with pytest.raises(Stopped):
        run(died, {5: STOP})
    assert leftover.exists()


def test_a_restart_goes_on_unasked(dataset, died, torchrun, tmp_path, capsys):
    torchrun("first", 1)
    run(died)
    assert "resumed at step 8 of" in capsys.readouterr().out
    assert run(died)["steps"] == STEPS, "started again after its end"
    assert f"finished at step {STEPS}" in capsys.readouterr().out
    torchrun("other", 0)
    run(config_of(dataset, tmp_path / "undisturbed"))
    assert_same_run(tmp_path / "undisturbed", died.run_dir)


@pytest.mark.parametrize(("name", "restarts"), [("first", 0), ("second", 0), ("second", 1), ("none", 1)])
def test_another_job_does_not(died, torchrun, name, restarts):
    """The restart of a job that was refused is refused too."""
    torchrun(name, restarts)
    with pytest.raises(UserError, match="holds a run already"):
        run(died)


def test_overwriting_is_not_taken_for_done(dataset, died, torchrun, capsys):
    """A job that died before it had replaced the run begins anew when it is started again."""
    torchrun("second", 1)
    run(config_of(dataset, died.run_dir, **OPTIONS, overwrite=True))
    assert "resumed" not in capsys.readouterr().out
    # From here on it is its own.
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
    # Another job does go on, when it is told to.
    torchrun("second", 0)
    assert run(config_of(dataset, tmp_path / "run"))["steps"] == STEPS


def test_a_stop_for_new_members_is_none(dataset, died, torchrun, capsys):
    """torchrun tells ranks to stop when a node joins, and starts all of them again, without counting it."""
    torchrun("first", 1)
    with pytest.raises(Stopped):
        run(died, {5: STOP})
    run(died)
    assert capsys.readouterr().out.count("resumed at step") == 2
    assert (died.run_dir / "summary.json").exists() and not (died.run_dir / "stopped.json").exists()


@pytest.mark.parametrize("log_every", [1, 1000])
def test_the_later_of_two_jobs_has_the_run(dataset, tmp_path, log_every):
    """Submitted twice: the first one ends before it writes anything more."""
    options = {"checkpoint": {"every_steps": 2}, "log_every": log_every}
    run(config_of(dataset, tmp_path / "undisturbed", log_every=log_every))
    config = config_of(dataset, tmp_path / "run", **options)
    with pytest.raises(UserError, match="another job"):
        run(config, {7: lambda: run(config)})
    assert_same_run(tmp_path / "undisturbed", config.run_dir)
