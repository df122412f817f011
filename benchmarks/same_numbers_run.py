"""Runs the command line of a checkout, on the CPU with one thread a rank, and reads the files that it leaves."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from benchmarks.same_numbers_cases import PREPARED, Case
from benchmarks.same_numbers_fork import Forks
from benchmarks.same_numbers_names import option_word
from benchmarks.same_numbers_read import Record, read_directory

#: One thread a rank, and no GPU.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
_MINUTES = 10


class Tree:
    """Runs commands of a checkout.

    Args:
        tree: The checkout.
        place: Working directory of the commands.
        torchrun: Start ranks with torchrun, which takes four times as long as forks of one process.
    """

    def __init__(self, tree: Path, place: Path, torchrun: bool = False):
        self.tree, self.place = tree.resolve(), place
        self._helps: dict[tuple[str, ...], str] = {}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GNNREC_", "WANDB_"))}
        self.environment = inherited | ENVIRONMENT | {"PYTHONPATH": str(self.tree)}
        self.forks = None if torchrun else Forks(self.tree, place, self.environment, 60 * _MINUTES)
        imported = self.run(["-c", "import gnnrec; print(gnnrec.__file__)"]).strip()
        if Path(imported) != self.tree / "gnnrec" / "__init__.py":
            raise SystemExit(f"{imported} is imported, not the package of {self.tree}")

    def versions(self) -> dict[str, str]:
        """Versions of packages and the processor, which numbers depend on besides the checkout."""
        packages = {name: metadata.version(name) for name in ("torch", "numpy", "numba", "scipy", "pyarrow")}
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor = next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
        return packages | {"python": platform.python_version(), "processor": processor}

    def run(self, words: list[str]) -> str:
        """Runs Python with these arguments and returns what it prints.

        Raises:
            SystemExit: It fails.
        """
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.place,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60 * _MINUTES,
        )
        if done.returncode:
            raise SystemExit(_failure(words, done.returncode, done.stdout))
        return done.stdout

    def on_ranks(self, ranks: int, words: list[str], torchrun: bool = False) -> None:
        """Runs a program, or ``-m`` and a module, on some ranks.

        Args:
            ranks: Number of processes.
            words: The program and its arguments.
            torchrun: Start it with torchrun whatever was chosen for all.

        Raises:
            SystemExit: It fails.
        """
        if torchrun or self.forks is None:
            self.run(["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *words])
            return
        with tempfile.NamedTemporaryFile(suffix=".log") as log:
            status = self.forks.run(words, ranks, Path(log.name))
            if status:
                raise SystemExit(_failure(words, status, Path(log.name).read_text(encoding="utf-8", errors="replace")))

    def train(self, case: Case, options: dict[str, str], ranks: int) -> None:
        """Trains, with the file and the data of a case."""
        help_words = [str(self.tree / "train_dist.py"), "--help"]
        files = [
            f"--config={self.tree / 'configs' / case.config}.yaml",
            f"--data={case.data}",
            f"--run-dir={case.label}",
        ]
        words = [self._word("run/config", *option, help_words) for option in options.items()]
        self.on_ranks(ranks, [help_words[0], *files, *words], case.torchrun)

    def command(self, name: str, words: list[str], options: dict[str, str], ranks: int = 1) -> None:
        """Runs ``gnnrec NAME`` on some ranks."""
        module = ["-m", "gnnrec.export"] if name == "export" else ["-m", "gnnrec", name]
        words = module + words
        words += [self._word(f"option/{name}", *option, [*module, "--help"]) for option in options.items()]
        self.on_ranks(ranks, words)

    def _word(self, section: str, option: str, value: str, help_words: list[str]) -> str:
        return option_word(section, option, value, lambda: self._help(*help_words))

    def _help(self, *words: str) -> str:
        if words not in self._helps:
            self._helps[words] = self.run(list(words))
        return self._helps[words]


def _failure(words: list[str], status: int, output: str) -> str:
    return f"{' '.join(words)}\nfailed with {status}:\n{output[-4000:]}"


def record_data(tree: Tree, name: str) -> Record:
    """Prepares a dataset of the raw ratings and reads it; ``synth`` generates one instead."""
    if name == "synth":
        tree.command("synth", [name], {"users": "200", "movies": "80", "ratings": "5000"})
    else:
        tree.command("prepare", [name], {"ratings": "raw"} | PREPARED[name])
    return read_directory(tree.place / name, "prepared")


def record_case(tree: Tree, case: Case) -> Record:
    """Trains, exports and recommends as a case asks for, and reads what that leaves."""
    run = tree.place / case.label
    options = {"max_steps": str(case.steps), "log_every": "1", "device": "cpu", "wandb.mode": "disabled"}
    options |= {"baselines": "false"} | case.options
    if case.resume_ranks:
        options |= {"checkpoint.every_steps": "1", "checkpoint.keep": "99"}
    tree.train(case, options, case.ranks)
    if case.resume_ranks:
        # What an interrupted run leaves: no summary, and the checkpoint of the step.
        (run / "summary.json").unlink()
        tree.train(case, options | {"resume": f"step-{case.resume_step:010d}"}, case.resume_ranks)
    found = read_directory(run, "run")
    export, recommended = f"{case.label}.export", f"{case.label}.recommended"
    if case.export:
        tree.command("export", [case.label], {"out": export, "device": "cpu", "checkpoint": "last"}, case.ranks)
        found |= read_directory(tree.place / export, "export")
    if case.export_ratings:
        options = {"out": f"{export}-ratings", "device": "cpu", "ratings": "raw"}
        tree.command("export", [case.label], options, case.ranks)
        found |= read_directory(tree.place / f"{export}-ratings", "export-ratings")
    if case.recommend:
        source = export if case.recommend == "export" else case.label
        options = {"all": "true", "out": recommended, "device": "cpu", "top": "20"}
        tree.command("recommend", [source], options, case.ranks)
        found |= read_directory(tree.place / recommended, "recommended")
    return found
