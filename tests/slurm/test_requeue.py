"""A job that SLURM stops in every way, and that comes back each time, ends with the weights of an undisturbed run."""

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
class Disturbed:
    """A finished job.

    Attributes:
        job: Its number.
        run: Its run directory.
        texts: What its log said after each start.
        export: Number of the job that waited for it.
        early: State of that job while the first was on its way back into the queue.
    """

    job: str
    run: Path
    texts: list[str]
    export: str
    early: list[str]


@pytest.fixture(scope="module")
def disturbed(cluster: Cluster, repository: Path) -> Disturbed:
    """Stopped by its time limit, by ``scontrol requeue`` and by the loss of a node, each in mid-epoch."""
    run = repository / "runs" / "disturbed"
    job = submit(
        cluster, repository, "--nodes=2", "--time=10", "launch/slurm.sbatch",
        "small.yaml", "--data", "data/mine", "--run-dir", run, *QUICK,
    )  # fmt: skip
    export = submit(
        cluster, repository, "--nodes=2", f"--dependency=afterok:{job}", "launch/slurm_export.sbatch",
        run, "--out", "export/disturbed", "--device", "cpu",
    )  # fmt: skip
    texts, early = [], []

    def come_back(restarts: int) -> None:
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
        # Less than the 120 seconds of --signal are left now. SLURM looks every 30 seconds, and the run is to wait.
        cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=2")
        deadline = time.monotonic() + 60
        while "closing signal SIGTERM" not in node_log(repository, job, 0):
            assert time.monotonic() < deadline, log(repository, job)
            time.sleep(0.2)
    come_back(1)
    wait_for_step(run, wait_for_resumed(repository, job, 1) + 20)
    cluster.ask("scontrol", "requeue", job)
    come_back(2)
    wait_for_step(run, wait_for_resumed(repository, job, 2) + 20)
    cluster.ask("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test")
    come_back(3)
    cluster.wait(job, "COMPLETED")
    texts.append(log(repository, job))
    return Disturbed(job, run, texts, export, early)


def wait_for_resumed(repository: Path, job: str, times: int) -> int:
    """The step from which the start after this many stops went on."""
    deadline = time.monotonic() + 90
    while len(found := resumed(repository, job)) < times:
        assert time.monotonic() < deadline, node_log(repository, job) + node_log(repository, job, 1)
        time.sleep(0.1)
    return found[-1]


def resumed(repository: Path, job: str) -> list[int]:
    return sorted(starts(node_log(repository, job, 0)) + starts(node_log(repository, job, 1)))


def test_final_weights_are_those_of_a_run_that_nobody_disturbed(disturbed: Disturbed, repository: Path):
    run = repository / "runs" / "undisturbed"
    options = ["--config", repository / "small.yaml", "--data", repository / "data" / "mine", "--run-dir", run]
    succeed(torchrun(ROOT / "train_dist.py", *options, *QUICK))
    assert_equal(final_weights(disturbed.run), final_weights(run))


def test_every_stop_was_in_mid_epoch_and_lost_nothing(disturbed: Disturbed, repository: Path):
    steps = resumed(repository, disturbed.job)
    assert len(steps) == 3 and all(step % STEPS_AN_EPOCH for step in steps), steps
    text = disturbed.texts[-1]
    assert [f"saved at step {step}:" in text for step in steps] == [True] * 3, text


def test_before_the_time_limit_the_job_requeues_itself(disturbed: Disturbed):
    assert "stopped by SIGTERM" in disturbed.texts[0] and "requeued; the next start goes on" in disturbed.texts[0]


def test_what_slurm_requeues_does_not_requeue_itself_too(disturbed: Disturbed, cluster: Cluster):
    assert disturbed.texts[1].count("SLURM has ended this job") == 1
    assert disturbed.texts[-1].count("requeued; the next start goes on") == 1
    assert cluster.job(disturbed.job)["Restarts"] == "3"


def test_the_export_waits_for_the_end_and_not_for_a_stop(disturbed: Disturbed, cluster: Cluster, repository: Path):
    assert disturbed.early and set(disturbed.early) == {"PENDING"}
    cluster.wait(disturbed.export, "COMPLETED")
    assert (repository / "export" / "disturbed" / "manifest.json").is_file()
    assert "finished" in log(repository, disturbed.export, "gnnrec-export")
