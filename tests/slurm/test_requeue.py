"""A job that SLURM interrupts in every way and requeues each time ends with the weights of an uninterrupted run."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from tests.end_to_end.commands import ROOT, succeed, torchrun
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import (
    QUICK,
    assert_equal,
    final_weights,
    log,
    node_log,
    paused,
    ranks,
    starts,
    submit,
    wait_for_step,
)

STEPS_AN_EPOCH = 60


@dataclasses.dataclass
class Interrupted:
    """A finished job.

    Attributes:
        job: Its number.
        run: Its run directory.
        texts: Its log after each start.
        export: Number of the job that waited for it.
        early: States of that job while the first one was being requeued.
    """

    job: str
    run: Path
    texts: list[str]
    export: str
    early: list[str]


@pytest.fixture(scope="module")
def interrupted(cluster: Cluster, repository: Path) -> Interrupted:
    """A job stopped by its time limit, by ``scontrol requeue`` and by the loss of a node, each in mid-epoch."""
    run = repository / "runs" / "interrupted"
    job = submit(
        cluster, repository, "--nodes=2", "--time=10", "launch/slurm.sbatch",
        "small.yaml", "--data", "data/mine", "--run-dir", run, *QUICK,
    )  # fmt: skip
    export = submit(
        cluster, repository, "--nodes=2", f"--dependency=afterok:{job}", "launch/slurm_export.sbatch",
        run, "--out", "export/interrupted", "--device", "cpu",
    )  # fmt: skip
    texts, early = [], []

    def wait_for_restart(restarts: int) -> None:
        deadline = time.monotonic() + 120
        while (now := cluster.job(job))["Restarts"] != str(restarts) or now["JobState"] != "RUNNING":
            assert time.monotonic() < deadline, f"{now}\n{log(repository, job)}"
            if now["JobState"] == "PENDING":
                if now["TimeLimit"] == "00:02:00":
                    cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=10")
                early.extend(cluster.states(export))
                cluster.run("scontrol", "update", "NodeName=n2", "State=RESUME", cwd=repository)
            time.sleep(0.2)
        texts.append(log(repository, job))

    wait_for_step(run, 20)
    processes = ranks(run)
    assert len(processes) == 2
    with paused(processes):
        # Less than the 120 seconds of --signal are left now. SLURM checks every 30 seconds, and the run must not end.
        cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=2")
        deadline = time.monotonic() + 60
        while "closing signal SIGTERM" not in node_log(repository, job, 0):
            assert time.monotonic() < deadline, log(repository, job)
            time.sleep(0.2)
    wait_for_restart(1)
    wait_for_step(run, wait_for_resumed(repository, job, 1) + 20)
    cluster.ask("scontrol", "requeue", job)
    wait_for_restart(2)
    wait_for_step(run, wait_for_resumed(repository, job, 2) + 20)
    cluster.ask("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test")
    wait_for_restart(3)
    cluster.wait(job, "COMPLETED")
    texts.append(log(repository, job))
    return Interrupted(job, run, texts, export, early)


def wait_for_resumed(repository: Path, job: str, times: int) -> int:
    """Waits until the job has been resumed this many times; returns the step of the last one."""
    deadline = time.monotonic() + 90
    while len(steps := resumed(repository, job)) < times:
        assert time.monotonic() < deadline, node_log(repository, job) + node_log(repository, job, 1)
        time.sleep(0.1)
    return steps[-1]


def resumed(repository: Path, job: str) -> list[int]:
    return sorted(starts(node_log(repository, job, 0)) + starts(node_log(repository, job, 1)))


def test_final_weights_equal_those_of_an_uninterrupted_run(interrupted: Interrupted, repository: Path):
    run = repository / "runs" / "uninterrupted"
    options = ["--config", repository / "small.yaml", "--data", repository / "data" / "mine", "--run-dir", run]
    succeed(torchrun(ROOT / "train_dist.py", *options, *QUICK))
    assert_equal(final_weights(interrupted.run), final_weights(run))


def test_stops_were_in_mid_epoch_and_lost_no_step(interrupted: Interrupted, repository: Path):
    steps = resumed(repository, interrupted.job)
    # A stop may come during the validation at the end of an epoch.
    assert len(steps) == 3 and sum(step % STEPS_AN_EPOCH > 0 for step in steps) >= 2, steps
    text = interrupted.texts[-1]
    assert [f"saved at step {step}:" in text for step in steps] == [True] * 3, text


def test_before_the_time_limit_the_job_requeues_itself(interrupted: Interrupted):
    assert "stopped by SIGTERM" in interrupted.texts[0]
    assert "requeued; the next start resumes the run" in interrupted.texts[0]


def test_a_job_that_slurm_requeues_does_not_requeue_itself_too(interrupted: Interrupted, cluster: Cluster):
    assert interrupted.texts[1].count("SLURM has ended this job") == 1
    assert interrupted.texts[-1].count("requeued; the next start resumes the run") == 1
    assert cluster.job(interrupted.job)["Restarts"] == "3"


def test_the_export_waits_until_the_run_has_finished(interrupted: Interrupted, cluster: Cluster, repository: Path):
    assert interrupted.early and set(interrupted.early) == {"PENDING"}
    cluster.wait(interrupted.export, "COMPLETED")
    assert (repository / "export" / "interrupted" / "manifest.json").is_file()
    assert "finished" in log(repository, interrupted.export, "gnnrec-export")
