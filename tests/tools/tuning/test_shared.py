"""Jobs that share a study make each trial once, and those of jobs that die again."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.tools.tuning import claims, study
from gnnrec.tools.tuning import tune as tuning
from gnnrec.tools.tuning.claims import TrialClaims
from gnnrec.tools.tuning.tune import TuneOptions, tune
from tests.datasets import write_dataset
from tests.tools.tuning.test_tune import options, table

#: Seconds after which something hangs, also on a busy machine.
PATIENCE = 120.0
TRIALS = 5


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("shared"), validation=0.15, test=0.15)


def shared(out: Path, **others) -> TuneOptions:
    return options(out, TRIALS, shared=True, **others)


def claimed(out: Path) -> list[Path]:
    return sorted((out / ".claims").glob("*.json"))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def job(data: Path, out: Path, before: Callable[[Path, int], None]) -> None:
    """Takes part in a study in a process of its own; ``before`` is called at the start of each of its trials."""
    build, made = tuning.build_trainer, 0

    def watched(*arguments):
        nonlocal made
        made += 1
        before(out, made)
        return build(*arguments)

    tuning.build_trainer = watched
    tune(data, shared(out), World())


def beside_another(out: Path, made: int) -> None:
    if made == 1:
        wait_until(lambda: len(claimed(out)) == 2)


def dies_in_the_second(out: Path, made: int) -> None:
    if made == 2:
        os.kill(os.getpid(), signal.SIGKILL)


def start(data: PreparedDataset, out: Path, before: Callable[[Path, int], None]) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=job, args=(data.directory, out, before))
    process.start()
    return process


@pytest.mark.slow
@pytest.mark.processes
def test_two_jobs_make_the_trials_together(data, tmp_path):
    jobs = [start(data, tmp_path / "study", beside_another) for _ in range(2)]
    for process in jobs:
        process.join(PATIENCE)
        assert process.exitcode == 0
    rows = table(tmp_path / "study")
    assert [int(row["trial"]) for row in rows] == list(range(1, TRIALS + 1))
    assert rows[0]["strength"] == "1.0" and len({row["strength"] for row in rows}) == TRIALS
    made = [
        [json.loads(line)["step"] for line in path.read_text().splitlines()]
        for path in (tmp_path / "study" / "jobs").glob("*/metrics.jsonl")
    ]
    assert len(made) == 2 and all(made) and sorted(sum(made, [])) == list(range(1, TRIALS + 1))
    assert (tmp_path / "study" / "best.yaml").is_file() and not claimed(tmp_path / "study")


@pytest.mark.slow
@pytest.mark.processes
def test_the_trial_of_a_killed_job_is_made_again(data, tmp_path, monkeypatch):
    killed = start(data, tmp_path / "study", dies_in_the_second)
    killed.join(PATIENCE)
    assert killed.exitcode == -signal.SIGKILL
    assert len(table(tmp_path / "study")) == 1 and [path.stem for path in claimed(tmp_path / "study")] == ["000001"]
    # As if it had run on another machine, which this one knows only by the time of the claim.
    (claim,) = claimed(tmp_path / "study")
    claim.write_text(json.dumps(json.loads(claim.read_text()) | {"host": "elsewhere"}))
    monkeypatch.setattr(claims, "LAPSE", 1.0)
    began = time.monotonic()
    tune(data.directory, shared(tmp_path / "study"), World())
    assert time.monotonic() - began > 1
    tune(data.directory, options(tmp_path / "alone", TRIALS), World())
    shared_rows, alone = table(tmp_path / "study"), table(tmp_path / "alone")
    assert [row["trial"] for row in shared_rows] == [row["trial"] for row in alone]
    assert shared_rows[0] == alone[0] and not claimed(tmp_path / "study")


@pytest.mark.slow
def test_one_job_makes_the_trials_of_a_study_that_is_not_shared(data, tmp_path):
    tune(data.directory, shared(tmp_path / "study"), World())
    tune(data.directory, options(tmp_path / "alone", TRIALS), World())
    assert (tmp_path / "study" / "trials.csv").read_text() == (tmp_path / "alone" / "trials.csv").read_text()


@pytest.mark.slow
@pytest.mark.processes
def test_of_a_trial_that_was_made_twice_the_first_result_counts(data, tmp_path, monkeypatch, caplog):
    """A job that was suspended for a while is taken for dead, and comes back."""
    build = tuning.build_trainer

    def suspended(*arguments):
        monkeypatch.setattr(tuning, "build_trainer", build)
        for path in claimed(tmp_path / "study"):
            path.unlink()
        other = start(data, tmp_path / "study", lambda out, made: None)
        other.join(PATIENCE)
        assert other.exitcode == 0
        return build(*arguments)

    monkeypatch.setattr(tuning, "build_trainer", suspended)
    tune(data.directory, shared(tmp_path / "study"), World())
    assert len(table(tmp_path / "study")) == TRIALS
    assert "trial 1 was made by another job too, whose result counts" in caplog.text


def test_a_shared_study_and_another_command_refuse_each_other(data, tmp_path):
    place = {"directory": tmp_path / "study", "context": {}, "chosen": (), "base": None, "first_rung": 1, "seed": 0}
    for first, second in ((True, False), (False, True), (False, False)):
        held = study.Study(**place, shared=first)
        with pytest.raises(UserError, match="another gnnrec tune uses .*, or start all with --shared true"):
            study.Study(**place, shared=second)
        held.close()
    both = [study.Study(**place, shared=True) for _ in range(2)]
    assert all(each.trials == [] for each in both)
    for each in both:
        each.close()


def test_a_claim_of_another_machine_holds_as_long_as_it_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "LAPSE", 0.2)
    mine = TrialClaims(tmp_path / "claims")
    other = tmp_path / "claims" / "000003.json"
    other.write_text('{"host": "elsewhere", "pid": 1}')
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.02):
            os.utime(other)

    thread = threading.Thread(target=renew)
    thread.start()
    began = time.monotonic()
    while time.monotonic() - began < 0.6:
        assert mine.taken() == {3}
        time.sleep(0.01)
    ended.set()
    thread.join()
    wait_until(lambda: mine.taken() == set())
    assert not other.exists()
    mine.take(4)
    assert mine.taken() == set() and [path.stem for path in (tmp_path / "claims").glob("*.json")] == ["000004"]
    mine.close()
    assert not list((tmp_path / "claims").glob("*.json"))
