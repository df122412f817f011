"""Starts a process for a fit on every rank, and waits for it."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.tools.comparison.fit import FitJob
from gnnrec.utils import files


def run(job: FitJob, directory: Path, world: World) -> None:
    """Runs ``gnnrec.tools.comparison.fit`` in a new process on each rank; these form a new process group.

    Args:
        job: The fit.
        directory: Directory for the job file and the output of the processes.
        world: The ranks; every rank calls this.

    Raises:
        UserError: A process failed; the message has its last line.
        Stopped: A rank was asked to stop.
    """
    path = directory / "job.json"
    world.run_on_rank0(lambda: files.write_text(path, json.dumps(dataclasses.asdict(job))))
    log = directory / f"rank-{world.rank}.log"
    with open(log, "w", encoding="utf-8") as output:
        command = [sys.executable, "-m", "gnnrec.tools.comparison.fit", str(path)]
        environment = os.environ | _ranks(world)
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        ) as process:
            code = _wait(process, world)
    world.check_stop()
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    problem = f"{(lines or ['it printed nothing'])[-1]} (full output: {log})" if code else None
    problems = [text for text in world.all_gather_objects(problem) if text]
    if problems:
        raise UserError(f"{job.model}, seed {job.seed}, failed: {problems[0]}")


def _wait(process: subprocess.Popen, world: World) -> int:
    """Waits for a process, and forwards a request to stop; returns the exit code."""
    forwarded = False
    while True:
        try:
            return process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if world.stop.code and not forwarded:
                process.terminate()
                forwarded = True


def _ranks(world: World) -> dict[str, str]:
    """Returns the environment variables of a new process group of the same ranks."""
    if world.size == 1:
        return {"WORLD_SIZE": "1"}
    return {
        "RANK": str(world.rank),
        "WORLD_SIZE": str(world.size),
        "LOCAL_RANK": os.environ.get("LOCAL_RANK", str(world.rank)),
        "LOCAL_WORLD_SIZE": os.environ.get("LOCAL_WORLD_SIZE", str(world.size)),
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": str(world.run_on_rank0(_free_port)),
        # torchrun's store is in use; rank 0 of the new group serves its own.
        "TORCHELASTIC_USE_AGENT_STORE": "False",
    }


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("", 0))
        return server.getsockname()[1]
