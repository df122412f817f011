"""The commands of docs/slurm.md in one shell, on a smaller cluster than in the document."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.end_to_end.commands import ROOT

TEXT = (ROOT / "docs" / "slurm.md").read_text(encoding="utf-8")
#: Sizes in the document -> sizes of the cluster of the tests. Nothing else is changed.
SMALLER = {
    "--gpus-per-node=8 ": "",
    "--cpus-per-task=64 ": "",
    "--cpus-per-task=16 ": "",
    "--nodes=4": "--nodes=2",
    "MIN_NODES=3": "MIN_NODES=1",
    "--array=1-2": "--array=2",
    "--array=1-3": "--array=1-2",
    "HEAD_HOST=host1": "HEAD_HOST=127.0.0.1",
}


def commands() -> list[str]:
    """The commands in ```bash blocks, continued lines joined."""
    blocks = re.findall(r"^```bash\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return [" ".join(line.split()) for line in "".join(blocks).replace("\\\n", " ").splitlines() if line.strip()]


def smaller(command: str) -> str:
    """The command with the sizes of this cluster."""
    for words, replacement in SMALLER.items():
        command = command.replace(words, replacement)
    return command


def option(command: str, name: str) -> str:
    """The value of ``--name VALUE`` in a command."""
    words = shlex.split(command.replace("$(", " ").replace(")", " "))
    return words[words.index(f"--{name}") + 1]


class Shell:
    """Runs commands like one shell: variables of a command are set for the next ones."""

    def __init__(self, cluster, cwd: Path, **variables: str):
        self._cluster, self._cwd = cluster, cwd
        self._variables = variables
        self._state = cwd / "shell_state"

    def __call__(self, command: str) -> str:
        """Runs a command that must succeed, and returns its output."""
        script = f'set -e\n{command}\nprintf \'%s\\n%s\' "$PATH" "${{ID:-}}" >{shlex.quote(str(self._state))}\n'
        result = self._cluster.run("bash", "-c", script, cwd=self._cwd, timeout=240, **self._variables)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        path, job = self._state.read_text().split("\n")
        self._variables |= {"PATH": path, "ID": job}
        return result.stdout

    @property
    def job(self) -> str:
        """The job in ``$ID``."""
        return self._variables["ID"]
