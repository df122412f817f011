"""The launch scripts: well-formed, and clear about wrong options. Nothing is installed here."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gnnrec.errors import RANKS_LOST_EXIT_CODE
from tests.end_to_end.commands import ROOT
from tests.end_to_end.processes import PATIENCE
from tests.repository.project import PROJECT
from tests.slurm.cluster import free_ports

SCRIPTS = sorted([*(ROOT / "launch").rglob("*.sh"), *(ROOT / "launch").glob("*.sbatch"), ROOT / ".ci" / "run"])
QUICKSTART = ROOT / "launch" / "quickstart.sh"


def bash(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", *arguments],
        cwd=ROOT, env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_every_script(script: Path):
    result = bash("-n", script)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow
def test_shellcheck_has_no_complaints():
    beside_python = Path(sys.executable).parent / "shellcheck"
    shellcheck = str(beside_python) if beside_python.exists() else shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install -e '.[test]'")
    result = subprocess.run(
        [shellcheck, "-x", *(str(path.relative_to(ROOT)) for path in SCRIPTS)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rattings", "x.csv"], "--rattings is not an option"),
        (["x.csv"], "x.csv is not an option"),
        (["--ratings"], "--ratings needs a value"),
        (["--out="], "--out needs a value"),
        (["--ratings", "nothing-here.csv"], "there is no such file"),
        (["--ratings", "pyproject.toml", "--dataset", "ml-1m"], "either --ratings or --dataset"),
        (["--movies", "pyproject.toml"], "belongs to --ratings"),
        (["--ranks", "two"], "must be a number"),
        (["--ranks", "0"], "must be a number"),
    ],
)
def test_quickstart_refuses_wrong_options_in_one_line(arguments: list[str], says: str):
    result = bash(QUICKSTART, *arguments)
    assert result.returncode == 2 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and says in result.stderr


def test_quickstart_explains_itself():
    result = bash(QUICKSTART, "--help")
    assert result.returncode == 0
    for option in ("ratings", "movies", "dataset", "user", "ranks", "out"):
        assert f"--{option} " in result.stdout


def test_environment_refuses_a_python_that_is_none(tmp_path: Path):
    environment = {"GNNREC_VENV": str(tmp_path / "venv"), "GNNREC_PYTHON": str(tmp_path / "python")}
    result = bash(ROOT / "launch" / "environment.sh", **environment)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert "GNNREC_PYTHON" in result.stderr and not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("before", "nccl", "gloo"),
    [
        ({}, "", ""),
        ({"NCCL_SOCKET_IFNAME": "lo"}, "lo", "lo"),
        ({"NCCL_SOCKET_IFNAME": "=lo"}, "=lo", "lo"),
        ({"NCCL_SOCKET_IFNAME": "l"}, "l", "lo"),
        ({"NCCL_SOCKET_IFNAME": "=l"}, "=l", ""),
        ({"NCCL_SOCKET_IFNAME": "nothing9,lo"}, "nothing9,lo", "lo"),
        ({"NCCL_SOCKET_IFNAME": "^docker"}, "^docker", ""),
        ({"GLOO_SOCKET_IFNAME": "lo"}, "=lo", "lo"),
        ({"NCCL_SOCKET_IFNAME": "ib0", "GLOO_SOCKET_IFNAME": "lo"}, "ib0", "lo"),
        ({"NCCL_SOCKET_IFNAME": "lo", "NODES": "1"}, "lo", ""),
    ],
)
def test_nccl_and_gloo_get_the_same_interface(tmp_path: Path, before: dict[str, str], nccl: str, gloo: str):
    if not Path("/sys/class/net/lo").exists():
        pytest.skip("interfaces have names of another system")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "nccl=${NCCL_SOCKET_IFNAME-} gloo=${GLOO_SOCKET_IFNAME-}"\n')
    python.chmod(0o755)
    interfaces = {"NCCL_SOCKET_IFNAME": "", "GLOO_SOCKET_IFNAME": ""} | before
    environment = {"NODES": "2", "HEAD_HOST": "localhost", "GNNREC_VENV": str(tmp_path)} | interfaces
    result = bash(ROOT / "launch" / "torchrun.sh", "--config", "x", **environment)
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.splitlines()[-1] == f"nccl={nccl} gloo={gloo}"


@pytest.mark.parametrize(
    ("before", "handling", "debug"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, "0", "WARN"),
        ({"CUDA_VISIBLE_DEVICES": "0", "TORCH_NCCL_ASYNC_ERROR_HANDLING": "3", "NCCL_DEBUG": "INFO"}, "3", "INFO"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "", ""),
    ],
)
def test_ranks_with_gpus_handle_errors_of_nccl_themselves(
    tmp_path: Path, before: dict[str, str], handling: str, debug: str
):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "${TORCH_NCCL_ASYNC_ERROR_HANDLING-} ${NCCL_DEBUG-}"\n')
    python.chmod(0o755)
    environment = {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "", "NCCL_DEBUG": "", "GNNREC_VENV": str(tmp_path)} | before
    result = bash(ROOT / "launch" / "torchrun.sh", "--config", "x", **environment)
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.splitlines()[-1] == f"{handling} {debug}"


@pytest.mark.parametrize("script", ["torchrun.sh", "slurm.sbatch", "slurm_export.sbatch", "slurm_update.sbatch"])
def test_usage_names_the_interfaces_of_both_libraries(script: str):
    result = bash(ROOT / "launch" / script, "--help")
    assert result.returncode == 0
    assert "NCCL_SOCKET_IFNAME" in result.stdout and "GLOO_SOCKET_IFNAME" in result.stdout


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_environment_explains_itself(tmp_path: Path, option: str):
    result = bash(ROOT / "launch" / "environment.sh", "test", option, GNNREC_VENV=str(tmp_path / "venv"))
    assert (result.returncode, result.stderr) == (0, "") and not (tmp_path / "venv").exists()
    assert f"\n  {' '.join(PROJECT['optional-dependencies'])}\n" in result.stdout
    assert "  GNNREC_VENV " in result.stdout and "  GNNREC_PYTHON " in result.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["tset"],
            "tset is not an extra of pyproject.toml (did you mean test?): choose from wandb, tensorboard, mlflow, ",
        ),
        (["test", "torch_sparse"], "torch_sparse is not an extra of pyproject.toml (did you mean torch-sparse?)"),
        (["xyzzy"], "xyzzy is not an extra of pyproject.toml: choose from wandb, "),
        (["--upgrade"], "--upgrade is not an extra of pyproject.toml"),
        (["name"], "name is not an extra of pyproject.toml"),
        ([""], " is not an extra of pyproject.toml"),
    ],
)
def test_environment_refuses_what_is_no_extra(tmp_path: Path, words: list[str], says: str):
    result = bash(ROOT / "launch" / "environment.sh", *words, GNNREC_VENV=str(tmp_path / "venv"))
    assert (result.returncode, result.stdout) == (2, "") and not (tmp_path / "venv").exists()
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"environment.sh: error: {says}")


def test_environment_refuses_in_one_line_without_a_python_too():
    result = bash(ROOT / "launch" / "environment.sh", "tset", GNNREC_PYTHON="/nowhere/python")
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert "tset is not an extra of pyproject.toml: choose from" in result.stderr


def test_every_direct_dependency_has_an_exact_version():
    project = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(
        r"^(?:dependencies|requires|wandb|tensorboard|metis|torch-sparse|test) = \[(.*?)\n?\]$",
        project,
        re.DOTALL | re.M,
    )
    # An item may be in single quotes, with a marker in double ones.
    wanted = {name for block in lists for name in re.findall(r"""(?:^|,)\s*["']([\w-]+)""", block)}
    constraints = (ROOT / "launch" / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in constraints if "==" in line}

    def canonical(names: set[str]) -> set[str]:
        return {name.lower().replace("_", "-") for name in names}

    assert {"torch", "scipy", "numba", "triton", "pytest", "wandb"} <= canonical(wanted)
    assert canonical(wanted) <= canonical(pinned)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("prefix", [None, "rank ${rank}: "], ids=["default", "own"])
def test_lines_of_several_nodes_name_node_and_rank(tmp_path: Path, prefix: str | None):
    """Two "machines", each with a real torchrun of two ranks that print one line."""
    shared = {"NODES": "2", "HEAD_HOST": "127.0.0.1", "RDZV_PORT": str(free_ports(1)[0]), "RANKS_PER_NODE": "2"}
    shared |= {"GNNREC_VENV": sys.prefix, "TMPDIR": str(tmp_path)} | ({} if prefix is None else {"LOG_PREFIX": prefix})
    nodes = [
        subprocess.Popen(
            ["bash", ROOT / "launch" / "torchrun.sh", "-m", "platform"],
            env=os.environ | shared | {"SLURMD_NODENAME": name}, stdout=subprocess.PIPE, text=True,
        )
        for name in ("first", "second")
    ]  # fmt: skip
    try:
        printed = [node.communicate(timeout=PATIENCE)[0].splitlines() for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0]
    lines = [line for text in printed for line in text if platform.platform() in line]
    if prefix is None:
        assert sorted(re.match(r"\[(\w+) (\d)\] \S", line).groups()[1] for line in lines) == list("0123")
        for name, text in zip(("first", "second"), printed):
            assert sum(line.startswith(f"[{name} ") for line in text) == 2
    else:
        assert sorted(lines) == [prefix.replace("${rank}", str(rank)) + platform.platform() for rank in range(4)]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("code", [RANKS_LOST_EXIT_CODE, 1])
def test_torchrun_ends_with_the_code_of_its_ranks(tmp_path: Path, code: int):
    """One rank ends, upon which torchrun ends the other. Lost ranks of other nodes are told from a failure of these."""
    program = tmp_path / "program.py"
    program.write_text(f"import os, sys, time\nos.environ['RANK'] == '0' or time.sleep({PATIENCE})\nsys.exit({code})\n")
    launcher = [sys.executable, ROOT / "launch" / "stoppable_torchrun.py", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run([*launcher, program], capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == code
    assert ("Traceback" in result.stderr) == (code == 1)
