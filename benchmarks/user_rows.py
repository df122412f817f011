"""Memory and time of user rows by where they are kept: ``python -m benchmarks.user_rows --users 1000000``.

Each place (``--user-rows`` device, host and file) has a separate process on one rank and the CPU: 10 ratings per user,
mini-batches of users, sampled neighbors, Adam. After the first step, which compiles, memory and time of the others
are measured; the memory of the graph alone is that of a model without user ids, and measured in the same way before the
tables are made. Anonymous memory (RssAnon) cannot be taken back by the system without swap; mapped files (RssFile)
can, and are then read again when they are needed.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks import record
from benchmarks.even_ratings import write_even_ratings
from benchmarks.steps import run_epoch

PLACES = ("device", "host", "file")
RATINGS_A_USER, MOVIES = 10, 5_000


def memory_mib() -> dict[str, float]:
    """Anonymous memory and mapped files of this process."""
    text = Path("/proc/self/status").read_text()
    return {name: int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 1024 for name in ("RssAnon", "RssFile")}


class Peak(threading.Thread):
    """A thread that measures the peak of anonymous memory from now on."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0
        self.ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.ended.wait(0.01):
            self.most = max(self.most, memory_mib()["RssAnon"])


def run_one(place: str, data: Path, dim: int, steps: int) -> dict:
    """Measures one place, in this process."""
    import torch

    from gnnrec.config.train_config import assigned_train_config
    from gnnrec.data.prepared import PreparedDataset, message_splits
    from gnnrec.distributed.world import World
    from gnnrec.graph.rank_graph import build_rank_graph
    from gnnrec.training.rating_trainer import RatingTrainer

    settings = [f"model.dim={dim}", "loader.seed_users=2000", "loader.movies_per_user=10", "loader.raters_per_movie=2"]
    settings += ["loader.control_variate=false", "loader.folds=5", f"user_rows={place}", "wandb.mode=disabled"]
    with tempfile.TemporaryDirectory(dir=data) as run:
        config = assigned_train_config(None, settings, data=data / "prepared", run_dir=Path(run), device="cpu")
        dataset = PreparedDataset(config.data)
        graph = build_rank_graph(dataset, World(), message_splits(False), torch.get_default_dtype(), config.model.time)
        del graph
        before = memory_mib()
        peak = Peak()
        trainer = RatingTrainer(config, dataset, World())
        made = peak.most
        seconds = []
        started = time.perf_counter()
        for number, _ in enumerate(run_epoch(trainer, 0)):
            seconds.append(time.perf_counter() - started)
            if number == steps:
                break
            started = time.perf_counter()
        peak.ended.set()
        rows = sum(table.numel() * 4 for table in trainer.users.tables().values()) / 2**20
        visited = sum(len(table.grad.coalesce().indices()[0]) if table.grad.is_sparse else len(table)
                      for table in list(trainer.users.tables().values())[:1])  # fmt: skip
        return {
            "rows_mib": rows, "rows_and_state_mib": 3 * rows, "anonymous_before_mib": before["RssAnon"],
            "anonymous_start_mib": made, "anonymous_peak_mib": peak.most, "mapped_mib": memory_mib()["RssFile"],
            "step_seconds": statistics.median(seconds[1:]), "rows_updated_in_a_step": visited,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="steps to measure")
    parser.add_argument("--place", type=Path, help="a directory on a disk for data and rows (default: a temporary one)")
    parser.add_argument("--one", nargs=2, metavar=("ROWS", "DATA"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(arguments.one[0], Path(arguments.one[1]), arguments.dim, arguments.steps)))
        return
    found = {}
    with tempfile.TemporaryDirectory(dir=arguments.place) as directory:
        write_even_ratings(Path(directory), arguments.users, MOVIES, RATINGS_A_USER)
        for place in PLACES:
            command = [sys.executable, "-m", "benchmarks.user_rows", "--one", place, directory]
            command += ["--dim", str(arguments.dim), "--steps", str(arguments.steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[place] = json.loads(done.stdout.splitlines()[-1])
            print(place, found[place], flush=True)
    figures = {"users": arguments.users, "ratings_a_user": RATINGS_A_USER, "dim": arguments.dim, "places": found}
    print(record.write("user_rows", "benchmarks.user_rows", figures))


if __name__ == "__main__":
    main()
