"""Launch scripts refuse wrong input in one clear line, and failed jobs are not requeued."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.commands import ROOT
from tests.slurm.cluster import Cluster, free_ports
from tests.slurm.jobs import QUICK, launchers, log, node_log, submit, wait_for_step

JOB = {"SLURM_JOB_ID": "999999", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "n1"}
TASK = JOB | {"SLURM_ARRAY_JOB_ID": "999999", "SLURM_ARRAY_TASK_ID": "2"}
RUN = ("small.yaml", "--data", "data/mine", "--run-dir")


@pytest.mark.parametrize(
    ("command", "variables", "message"),
    [
        (["slurm.sbatch", "small.yaml"], {}, "not inside a SLURM allocation: sbatch launch/slurm.sbatch CONFIG"),
        (["slurm_export.sbatch", "runs/x"], {}, "not inside a SLURM allocation"),
        (["slurm.sbatch", "small.yaml"], JOB | {"PATH": ""}, "srun is not in PATH"),
        (["slurm.sbatch", "small.yaml"], JOB | {"GNNREC_VENV": "nowhere"}, "bash launch/environment.sh"),
        (["slurm.sbatch", "small.yaml"], JOB | {"GNNREC_ROOT": "/usr"}, "/usr is not the repository"),
        (["slurm.sbatch"], JOB, "CONFIG is missing"),
        (["slurm.sbatch", "--data", "data/mine"], JOB, "CONFIG is missing"),
        (["slurm.sbatch", "nothing.yaml"], JOB, "nothing.yaml: there is no such file"),
        (["slurm.sbatch", *RUN, "runs/x", "--seedd", "1"], JOB, "did you mean --seed?"),
        (["slurm.sbatch", *RUN, "runs/x", "--seed", "%a"], TASK, "its own run directory"),
        (["slurm.sbatch", *RUN, "runs/x-%a"], TASK | {"SWEEP": "small.txt"}, "SWEEP=small.txt: must be a file"),
        (["slurm.sbatch", *RUN, "runs/x"], JOB | {"SWEEP": "small.yaml"}, "and the job an array"),
        (["slurm_export.sbatch", "--out", "x"], JOB, "RUN is missing"),
        (["slurm_export.sbatch", "runs/nothing"], JOB, "there is no such run directory"),
        (["slurm_update.sbatch", "--ratings", "x"], JOB, "RUN or LIVE is missing"),
        (["slurm_update.sbatch", "live/nothing"], JOB, "there is no such directory"),
        (["torchrun.sh"], {}, "nothing to run"),
        (["torchrun.sh", "--config", "x"], {"NODES": "2"}, "set HEAD_HOST to the host of the rendezvous"),
        (["torchrun.sh", "--config", "x"], {"NODES": "two"}, "NODES=two: must be a number"),
        (["torchrun.sh", "--config", "x"], {"MIN_NODES": "3"}, "MIN_NODES=3 is more than NODES=1"),
        (["torchrun.sh", "--config", "x"], {"RANKS_PER_NODE": "0"}, "RANKS_PER_NODE=0: must be a number, 1 or more"),
        (["torchrun.sh", "--config", "x"], {"GNNREC_VENV": "nowhere"}, "no Python environment at nowhere"),
    ],
)
def test_mistakes_end_with_one_line_and_code_2(
    cluster: Cluster, repository: Path, command: list[str], variables: dict, message: str
):
    if "PATH" in variables:  # everything but SLURM
        tools = repository / "tools"
        tools.mkdir()
        for tool in ("bash", "dirname", "hostname"):
            (tools / tool).symlink_to(f"/usr/bin/{tool}" if Path(f"/usr/bin/{tool}").exists() else f"/bin/{tool}")
        variables = variables | {"PATH": str(tools)}
    result = cluster.run("/bin/bash", f"launch/{command[0]}", *command[1:], cwd=repository, **variables)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1), result
    assert message in result.stderr


@pytest.mark.parametrize("script", ["slurm.sbatch", "slurm_export.sbatch", "slurm_update.sbatch", "torchrun.sh"])
def test_scripts_print_their_usage(cluster: Cluster, script: str):
    result = cluster.run("bash", ROOT / "launch" / script, "--help", cwd=cluster.place)
    assert result.returncode == 0 and result.stdout.startswith("usage: ") and script in result.stdout


def test_a_failed_run_keeps_its_code_and_is_not_requeued(cluster: Cluster, repository: Path):
    job = submit(
        cluster, repository, "launch/slurm.sbatch",
        "small.yaml", "--data", "data/nothing", "--run-dir", "runs/failed", *QUICK, MAX_RESTARTS="0",
    )  # fmt: skip
    cluster.wait(job, "FAILED")
    ended = cluster.job(job)
    assert (ended["ExitCode"], ended["Restarts"]) == ("2:0", "0")
    assert "data/nothing" in log(repository, job) and "failed with code 2" in log(repository, job)


def test_tasks_of_an_array_requeue_themselves_up_to_the_limit(cluster: Cluster, repository: Path):
    job = submit(
        cluster, repository, "--array=1-2", "launch/slurm.sbatch",
        *RUN, "runs/bounded-%a", *QUICK, "--max-minutes", "0.001", MAX_REQUEUES="1",
    )  # fmt: skip
    cluster.wait(job, "FAILED")
    for task in cluster.jobs(job):
        assert (task["ExitCode"], task["Restarts"]) == ("75:0", "1")
        text = log(repository, task["JobId"])
        assert text.count("requeued; the next start resumes") == 1 and "requeued 1 times already (MAX_REQUEUES)" in text
        printed = node_log(repository, f"{job}_{task['ArrayTaskId']}")
        assert printed.count("rank 0:") == 2, "a restart of torchrun undid a stop"


def test_ranks_and_threads_follow_from_gpus_and_cpus(repository: Path, tmp_path: Path):
    """Arguments of torchrun for different variables that SLURM sets on a node."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@" threads=$OMP_NUM_THREADS gpus=${CUDA_VISIBLE_DEVICES-all}\n')
    python.chmod(0o755)

    def ranks(**variables: str) -> tuple[str, str, str]:
        environment = {"PATH": os.environ["PATH"], "GNNREC_VENV": str(tmp_path), "SLURM_STEP_ID": "0"} | variables
        result = subprocess.run(
            ["bash", ROOT / "launch" / "torchrun.sh", "x"], env=environment, capture_output=True, text=True, check=True
        )
        words = result.stdout.splitlines()[-1].split()
        return words[words.index("--nproc-per-node") + 1], words[-2], words[-1]

    assert ranks(SLURM_GPUS_ON_NODE="4", SLURM_CPUS_PER_TASK="64") == ("4", "threads=16", "gpus=all")
    assert ranks(SLURM_CPUS_ON_NODE="64") == ("8", "threads=8", "gpus=")
    assert ranks(SLURM_CPUS_ON_NODE="12", OMP_NUM_THREADS="1") == ("1", "threads=12", "gpus=")
    assert ranks(SLURM_CPUS_ON_NODE="64", RANKS_PER_NODE="4") == ("4", "threads=16", "gpus=all")


def test_torchrun_script_stops_on_every_node_with_code_75(repository: Path):
    """Two "machines" without SLURM; a repeated signal counts once."""
    run = repository / "runs" / "without_slurm"
    command = ["bash", "launch/torchrun.sh", "--config", *RUN, run, *QUICK]
    environment = os.environ | {
        "NODES": "2",
        "HEAD_HOST": "127.0.0.1",
        "RDZV_PORT": str(free_ports(1)[0]),
        "RANKS_PER_NODE": "1",
    }
    nodes = [
        subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        wait_for_step(run, 20)
        assert sorted(launchers(run)) == sorted(node.pid for node in nodes), "bash replaced itself by the launcher"
        for node in nodes:
            node.send_signal(signal.SIGTERM)
            node.send_signal(signal.SIGTERM)
        errors = [node.communicate(timeout=60)[1] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [75, 75], errors
    assert "saved at step" in "".join(errors) and "Traceback" not in "".join(errors)
