"""A SLURM cluster of two nodes on this machine, independent of any other one: its own files, ports and key."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests import debian

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
NODES = ("n1", "n2")

_NOT_INSTALLED = (
    "slurm-wlm and munge are not installed: apt-get install slurm-wlm munge, "
    "or set GNNREC_SKIP_SLURM=1 to leave these tests out"
)
_CONFIGURATION = """\
ClusterName=gnnrec
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential is void: two minutes, unless told otherwise.
AuthInfo=socket={place}/munge.socket,cred_expire=5
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=1
ReturnToService=2
InactiveLimit=0
KillWait=30
MinJobAge=3600
SlurmctldTimeout=60
SlurmdTimeout=60
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
# SLURM requeues jobs of failed nodes, and time limits are not extended.
JobRequeue=1
OverTimeLimit=0
"""
_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=1000 State=UNKNOWN\n"
_PARTITION = "PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP\n"


@dataclasses.dataclass
class Cluster:
    """A running cluster.

    Attributes:
        place: Directory of all its files.
        environment: Variables with which SLURM's commands find the cluster.
    """

    place: Path
    environment: dict[str, str]

    def run(
        self, *command: str | Path, cwd: Path, timeout: float = 60, **variables: str
    ) -> subprocess.CompletedProcess:
        """Runs a command that may call SLURM's commands; ``variables`` are further environment variables."""
        return subprocess.run(
            [str(word) for word in command], cwd=cwd, env=self.environment | variables, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def ask(self, *command: str | Path) -> str:
        """Runs a command that must succeed, and returns its output."""
        result = self.run(*command, cwd=self.place)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout.strip()

    def jobs(self, number: str) -> list[dict[str, str]]:
        """The fields of ``scontrol show job``, for each task where it is an array."""
        lines = self.ask("scontrol", "show", "job", "--oneliner", number).splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]

    def job(self, number: str) -> dict[str, str]:
        """The fields of one job."""
        (job,) = self.jobs(number)
        return job

    def states(self, number: str) -> set[str]:
        """The state of a job, or those of an array's tasks."""
        return {job["JobState"] for job in self.jobs(number)}

    def wait(self, number: str, state: str, timeout: float = 240) -> None:
        """Waits until a job, or every task of an array, is in this state; fails if one ends in another state."""
        ends = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"} - {state}
        deadline = time.monotonic() + timeout
        while (states := self.states(number)) != {state}:
            assert not states & ends, f"job {number}: {self.jobs(number)}"
            assert time.monotonic() < deadline, f"job {number} is not {state} after {timeout} s: {self.jobs(number)}"
            time.sleep(0.2)


def install() -> None:
    """Installs SLURM and munge if they are missing, on Debian with the rights to install packages.

    Raises:
        RuntimeError: They cannot be installed here.
    """
    if _missing():
        if not debian.may_install():
            raise RuntimeError(_NOT_INSTALLED)
        with _no_services():
            debian.install("slurm-wlm", "munge")
    if missing := _missing():
        raise RuntimeError(f"{_NOT_INSTALLED} (still missing: {', '.join(missing)})")


@contextlib.contextmanager
def start(place: Path, cpus: int) -> Iterator[Cluster]:
    """Context of a running cluster.

    Args:
        place: An empty directory.
        cpus: CPUs of each of the two nodes.
    """
    place.chmod(0o755)  # munged refuses a socket that other users cannot reach
    host = socket.gethostname().split(".")[0]
    ports = free_ports(1 + len(NODES))
    (place / "state").mkdir()
    text = _CONFIGURATION.format(host=host, place=place, user=getpass.getuser(), controller_port=ports[0])
    text += "".join(_NODE.format(name=name, host=host, port=port, cpus=cpus) for name, port in zip(NODES, ports[1:]))
    (place / "slurm.conf").write_text(text + _PARTITION)
    (place / "munge.key").write_bytes(os.urandom(128))
    (place / "munge.key").chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    environment["SLURM_CONF"] = str(place / "slurm.conf")
    environment["PATH"] += ":/usr/sbin:/sbin"
    cluster = Cluster(place, environment)
    with contextlib.ExitStack() as started:

        def daemon(*command: str) -> None:
            output = started.enter_context(open(place / f"{Path(command[0]).name}.out", "ab"))
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=place,
                preexec_fn=_end_with_the_tests,
            )
            started.callback(_end, process)

        files = {"socket": "socket", "pid-file": "pid", "log-file": "log", "key-file": "key", "seed-file": "seed"}
        daemon("munged", "--foreground", "--force", *(f"--{name}={place}/munge.{end}" for name, end in files.items()))
        _wait_for(lambda: (place / "munge.socket").exists(), "munged", place)
        daemon("slurmctld", "-D", "-i")
        for name in NODES:
            (place / f"spool-{name}").mkdir()
            daemon("slurmd", "-D", "-N", name)
        _wait_for(lambda: _idle(cluster), "SLURM", place)
        started.callback(_cancel_all, cluster)
        yield cluster


def _missing() -> list[str]:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keeps packages from starting services (``invoke-rc.d`` reads this file)."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def free_ports(count: int) -> list[int]:
    """Free ports of this machine."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def _idle(cluster: Cluster) -> bool:
    result = cluster.run("sinfo", "--noheader", "--Node", "--format=%t", cwd=cluster.place)
    return result.stdout.split() == ["idle"] * len(NODES)


def _wait_for(ready, what: str, place: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(place.glob("*.[ol][uo][tg]")))
            raise RuntimeError(f"{what} did not start\n{logs}")
        time.sleep(0.1)


def _cancel_all(cluster: Cluster) -> None:
    cluster.run("scancel", "--user", getpass.getuser(), cwd=cluster.place)
    deadline = time.monotonic() + 45
    while cluster.run("squeue", "--noheader", cwd=cluster.place).stdout.strip() and time.monotonic() < deadline:
        time.sleep(0.2)


def _end_with_the_tests() -> None:
    """Requests SIGTERM from Linux for the time when the parent process has ended: PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _end(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
