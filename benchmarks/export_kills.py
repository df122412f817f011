"""Kills exports with -9 repeatedly, and compares them with one that was never interrupted.

    python -m benchmarks.export_kills --directory DIR

Synthetic ratings, a two-layer GAT at a few steps, and an export in small chunks and many small parts, in all formats,
under torchrun. An export is killed at some random moments, torchrun and all ranks at once; after each kill it is
started again with the same command, and finishes in the end. A seed draws the moments: while the program starts, while
movies are embedded, between any two parts, and from the last part to the manifest. A kill that finds the export
complete is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks import record
from benchmarks.chaos_job import ROOT, Job, parts_written, wait_for

USERS, MOVIES, RATINGS, PART_ROWS, CHUNK = 6000, 3000, 600_000, 50, 100
PLACES = ("starting", "embedding movies", "writing users", "finishing")


class Exports:
    """Exports of one run, with and without kills.

    Args:
        directory: Directory for all files.
        ranks: Ranks of a job.
        seed: Seed of the moments.

    Attributes:
        table: A row for each kill.
        identical: Whether the files of each killed export equal those of the undisturbed one.
    """

    def __init__(self, directory: Path, ranks: int, seed: int):
        self.directory, self.ranks, self.rng = directory, ranks, np.random.default_rng(seed)
        self.parts = -(-USERS // PART_ROWS)
        self.table: list[dict] = []
        self.identical: list[bool] = []

    def undisturbed(self) -> dict[str, float]:
        """Exports twice without interruption, since the first compiles; returns the seconds in each place."""
        self._undisturbed("first")
        seconds = self._undisturbed("undisturbed")
        self.expected = _checksums(self.directory / "undisturbed")
        if _checksums(self.directory / "first") != self.expected:
            raise RuntimeError("two undisturbed exports differ")
        return seconds

    def _undisturbed(self, name: str) -> dict[str, float]:
        out, job = self.directory / name, self._job(name)
        began = time.monotonic()
        job.start()
        passed = {}
        for place, over in (
            ("starting", lambda: _at_work(job)),
            ("embedding movies", lambda: (out / ".unfinished" / "encoder.pt.json").exists()),
            ("writing users", lambda: parts_written(out) == self.parts),
            ("finishing", lambda: (out / "manifest.json").exists()),
        ):
            if not wait_for(over, job):
                raise RuntimeError(f"the undisturbed export fails: see {job.log}")
            passed[place], began = time.monotonic() - began, time.monotonic()
        if job.wait():
            raise RuntimeError(f"the undisturbed export fails: see {job.log}")
        return passed

    def kill(self, kills: int, seconds: dict[str, float]) -> None:
        """Kills a number of times, over as many exports as that takes."""
        while len(self.table) < kills:
            name = f"export-{len(self.identical)}"
            job, out = self._job(name), self.directory / name
            wanted = min(int(self.rng.integers(2, 6)), kills - len(self.table))
            try:
                self._kill_one(job, out, wanted, seconds)
            finally:
                job.end()
            self.identical.append(_checksums(out) == self.expected)
            shutil.rmtree(out)

    def _kill_one(self, job: Job, out: Path, kills: int, seconds: dict[str, float]) -> None:
        """Runs one export to its end."""
        # In the order of an export, so that it reaches all of them.
        for place in sorted(self.rng.integers(0, len(PLACES), kills).tolist()):
            job.start()
            if not self._strike(job, out, PLACES[place], seconds[PLACES[place]]):
                break
        if job.alive:
            job.wait()
        if not (out / "manifest.json").exists():
            job.start()
            if job.wait():
                raise RuntimeError(f"{out} is not completed by the same command: see {job.log}")

    def _strike(self, job: Job, out: Path, place: str, seconds: float) -> bool:
        """Kills once; False if the export finished before."""
        had, fraction = parts_written(out), self.rng.random()
        if place == "embedding movies":
            wait_for(lambda: _at_work(job), job)
        elif place == "writing users":
            goal = had + 1 + int(fraction * (self.parts - had))
            wait_for(lambda: parts_written(out) >= min(goal, self.parts), job)
            seconds /= self.parts
        elif place == "finishing":
            wait_for(lambda: parts_written(out) == self.parts or (out / "manifest.json").exists(), job)
        else:
            wait_for(lambda: len(job.ranks()) == self.ranks, job)
        time.sleep(seconds * self.rng.random())
        at_work = _at_work(job)
        if _where(out, self.parts) == "complete" or not job.strike("kill -9 job", 0):
            return False
        where = _where(out, self.parts) if at_work else "starting"
        if where == "complete":
            return False
        names = sorted(str(path.relative_to(out)) for path in out.rglob("*.tmp*"))
        row = {"export": out.name, "aimed_at": place, "where": where, "parts": parts_written(out)}
        self.table.append(row | {"parts_at_start": had, "half_written": names})
        print(self.table[-1], flush=True)
        return True

    def _job(self, name: str) -> Job:
        options = ["--part-rows", str(PART_ROWS), "--chunk", str(CHUNK), "--formats", "npy,faiss", "--device", "cpu"]
        command = ["-m", "gnnrec.export", str(self.directory / "run"), "--out", str(self.directory / name), *options]
        return Job(command, self.directory / f"{name}.log", self.ranks)


def _where(out: Path, parts: int) -> str:
    """Names the stage of the export, from the files that exist."""
    if (out / "manifest.json").exists():
        return "complete"
    if not (out / ".unfinished" / "encoder.pt.json").exists():
        return "embedding movies"
    return "writing users" if parts_written(out) < parts else "finishing"


def _at_work(job: Job) -> bool:
    """Whether rank 0 handles SIGTERM: everything is imported, and the process group is about to be formed."""
    with contextlib.suppress(OSError, KeyError):
        status = Path(f"/proc/{job.ranks()[0].pid}/status").read_text()
        return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _checksums(out: Path) -> dict[str, str]:
    """Checksums of all files, hidden ones too."""
    paths = [path for path in out.rglob("*") if path.is_file()]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _prepare(directory: Path) -> None:
    """Makes ratings and a run of a few steps."""
    gnnrec = [sys.executable, "-m", "gnnrec"]
    size = ["--users", str(USERS), "--movies", str(MOVIES), "--ratings", str(RATINGS)]
    data, ratings, run = (str(directory / name) for name in ("prepared", "ratings", "run"))
    subprocess.run([*gnnrec, "synth", ratings, *size, "--overwrite"], check=True)
    subprocess.run([*gnnrec, "prepare", data, "--ratings", ratings, "--overwrite"], check=True)
    model = ["--model.architecture", "gat", "--model.layers", "2", "--max-steps", "3", "--wandb.mode", "disabled"]
    train = [sys.executable, str(ROOT / "train_dist.py"), "--data", data, "--run-dir", run, "--overwrite", *model]
    subprocess.run([*train, "--baselines", "false", "--device", "cpu"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True, help="directory for the data; needs 100 MB")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    directory = options.directory.resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    _prepare(directory)
    exports = Exports(directory, options.ranks, options.seed)
    seconds = exports.undisturbed()
    exports.kill(options.kills, seconds)
    finished = {f"export-{number}" for number, same in enumerate(exports.identical) if same}
    figures = {
        "ranks": options.ranks,
        "seed": options.seed,
        "parts": exports.parts,
        "undisturbed_seconds": {place: round(value, 2) for place, value in seconds.items()},
        "kills": len(exports.table),
        "identical": sum(row["export"] in finished for row in exports.table),
        "exports": len(exports.identical),
        "exports_identical": sum(exports.identical),
        "where": dict(Counter(row["where"] for row in exports.table)),
        "table": exports.table,
    }
    print({name: value for name, value in figures.items() if name != "table"})
    print(record.write("export_kills", "benchmarks.export_kills", figures))
    if figures["identical"] != figures["kills"]:
        sys.exit("an export that was killed is not what it would have been")


if __name__ == "__main__":
    main()
