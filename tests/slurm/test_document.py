"""Every command of docs/slurm.md is run in order, and has the effect that the document describes."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from tests.slurm.cluster import Cluster
from tests.slurm.document import TEXT, Shell, commands, option, smaller
from tests.slurm.jobs import launchers, log, ranks, summary, wait_for_step


class Reader:
    """Runs the commands of the document, and checks their effects.

    Attributes:
        done: Commands that were run, as in the document.
        jobs: Number -> name of the jobs that must finish.
    """

    def __init__(self, cluster: Cluster, cwd: Path):
        self.cluster, self.cwd = cluster, cwd
        self.shell = Shell(cluster, cwd, PATH=cluster.environment["PATH"])
        self.done: list[str] = []
        self.jobs: dict[str, str] = {}

    def run(self, command: str) -> None:
        """Waits for the state that a command needs, and runs it."""
        text = smaller(command)
        if text.startswith("tail"):
            wait_for_step(self.cwd / "runs" / "mine", 5)
        elif text.startswith(("scontrol requeue", "scancel")):
            self.wait_until_it_runs()
        elif text.startswith(("gnnrec recommend", "bash", "NODES=")) or "slurm_update" in text:
            self.finish()
        if text.startswith("NODES="):
            with concurrent.futures.ThreadPoolExecutor() as both:
                printed = "".join(both.map(Shell(self.cluster, self.cwd), [text, text]))
        else:
            printed = self.shell(text)
        self.done.append(command)
        self.check(text, printed)

    def check(self, text: str, printed: str) -> None:
        if "sbatch" in text:
            job = printed.split()[-1] if printed.strip() else self.shell.job
            names = {"slurm_export": "gnnrec-export", "slurm_update": "gnnrec-update"}
            self.jobs[job] = next((name for script, name in names.items() if script in text), "gnnrec")
            if "MIN_NODES" in text:
                self.lose_a_node(self.cwd / option(text, "run-dir"))
        elif text.startswith("scancel"):
            self.cluster.wait(self.shell.job, "CANCELLED")
            assert self.cluster.job(self.shell.job)["Restarts"] == "1"
            assert "SLURM has ended this job" in log(self.cwd, self.shell.job)
            del self.jobs[self.shell.job]
        elif text.startswith("squeue"):
            assert self.shell.job in printed
        elif text.startswith(("tail", "gnnrec recommend")):
            assert printed.strip()

    def wait_until_it_runs(self) -> None:
        """Waits until the run of ``$ID`` has made steps since its last start."""
        self.cluster.wait(self.shell.job, "RUNNING")
        run = self.cwd / "runs" / "mine"
        deadline = time.monotonic() + 90
        while len(ranks(run)) < 2:
            assert time.monotonic() < deadline, log(self.cwd, self.shell.job)
            time.sleep(0.1)
        began = time.time()
        while not (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").stat().st_mtime < began:
            assert time.monotonic() < deadline, log(self.cwd, self.shell.job)
            time.sleep(0.1)

    def lose_a_node(self, run: Path) -> None:
        """Kills all processes of the run on the second node, once it has saved something."""
        wait_for_step(run, 20)
        deadline = time.monotonic() + 60
        while not list((run / "checkpoints").glob("step-*")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        lost = launchers(run, "n2") + ranks(run, "n2")
        assert len(lost) == 2
        for process in lost:
            os.kill(process, signal.SIGKILL)

    def finish(self) -> None:
        """Waits until all jobs have finished."""
        for job in self.jobs:
            self.cluster.wait(job, "COMPLETED")


@pytest.fixture(scope="module")
def reader(cluster: Cluster, repository: Path) -> Reader:
    """A reader who has run all commands."""
    (repository / "configs").unlink()
    (repository / "configs").mkdir()
    # A small configuration under the name in the document: with quick steps and frequent checkpoints.
    small = yaml.safe_load((repository / "small.yaml").read_text())
    small |= {"checkpoint": {"every_steps": 30}, "device": "cpu", "wandb": {"mode": "disabled"}}
    small["optimizer"]["epochs"] = 3
    (repository / "configs" / "rating.yaml").write_text(yaml.safe_dump(small))
    (repository / "data" / "mine").rename(repository / "data" / "before")
    reader = Reader(cluster, repository)
    for command in commands():
        reader.run(command)
    reader.finish()
    return reader


def test_every_command_was_run(reader: Reader):
    assert reader.done == commands() and len(commands()) > 15
    assert all(block.startswith(("bash", "text")) for block in TEXT.split("\n```")[1::2])


def test_every_job_finished(reader: Reader):
    assert set().union(*(reader.cluster.states(job) for job in reader.jobs)) == {"COMPLETED"}
    names = ["one-node", "mine", "elastic", "seed-1", "seed-2", "sweep-2", "one-machine", "two-machines"]
    summaries = {name: summary(reader.cwd / "runs" / name) for name in names}
    assert all(values["steps"] == summaries["mine"]["steps"] > 0 for values in summaries.values())


def test_tasks_of_an_array_have_their_own_options(reader: Reader):
    configs = {
        name: yaml.safe_load((reader.cwd / "runs" / name / "config.yaml").read_text())
        for name in ("seed-1", "seed-2", "sweep-2")
    }
    assert [configs[name]["seed"] for name in ("seed-1", "seed-2")] == [1, 2]
    assert (configs["sweep-2"]["optimizer"]["lr"], configs["sweep-2"]["model"]["layers"]) == (0.02, 2)


def test_a_lost_node_did_not_end_the_elastic_job(reader: Reader):
    logs = [path for path in (reader.cwd / "logs").glob("gnnrec-*/node-0.log") if "runs/elastic" in path.read_text()]
    assert len(logs) == 1 and "resumed at step" in logs[0].read_text()
    text = log(reader.cwd, logs[0].parent.name.removeprefix("gnnrec-"))
    assert text.count("requeued 0 time(s)") == text.count(" job ") == 1 and "finished" in text


def test_the_export_is_complete(reader: Reader):
    assert (reader.cwd / "export" / "mine" / "manifest.json").is_file()


def test_each_day_has_a_generation(reader: Reader):
    live = reader.cwd / "live" / "mine"
    assert json.loads((live / "current.json").read_text())["generation"] == "000002"
    facts = [json.loads((live / f"00000{day}" / "generation.json").read_text()) for day in (1, 2)]
    assert [each["ratings"][0]["name"] for each in facts] == ["1.csv", "2.csv"]
    assert all((live / f"00000{day}" / "delta" / "manifest.json").is_file() for day in (1, 2))
