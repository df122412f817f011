"""Starts programs as torchrun and Python do, but in forked processes that have imported torch and others already.

Importing them takes two thirds of the time of a small run. The programs are those of the command line, and each
process imports the package of the checkout itself.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import runpy
import socket
import sys
import time
from pathlib import Path

#: Packages of others that the program imports. Only the time of a recording depends on this list.
PRELOADED = [
    *("torch", "torch.distributed", "torch.nn.parallel", "torch_geometric.loader", "numba", "pandas"),
    *("pyarrow.parquet", "pyarrow.csv", "scipy.sparse", "scipy.linalg", "jsonargparse", "yaml", "tqdm", "psutil"),
]


class Forks:
    """Runs programs of a checkout in forked processes.

    Args:
        tree: The checkout.
        place: Working directory of the programs.
        environment: Variables that are set in them; it has to be that of this process too, since threads are counted
            when torch is imported.
        limit: Seconds after which a program is ended.
    """

    def __init__(self, tree: Path, place: Path, environment: dict[str, str], limit: float):
        self.tree, self.place, self.environment, self.limit = tree, place, environment, limit
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)

    def run(self, words: list[str], ranks: int, log: Path) -> int:
        """Runs a program, or ``-m`` and a module, and returns the first exit status that is not 0, else 0.

        Args:
            words: The program and its arguments.
            ranks: Number of processes; they are told what torchrun tells them.
            log: File for what they print.
        """
        port = _free_port()
        processes = []
        for rank in range(ranks):
            told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
            values = {name: str(value) for name, value in told.items()}
            values |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            arguments = (str(self.tree), str(self.place), words, self.environment | values, str(log))
            processes.append(self.context.Process(target=_run_program, args=arguments))
        for process in processes:
            process.start()
        deadline = time.monotonic() + self.limit
        while any(process.is_alive() for process in processes):
            failed = any(process.exitcode for process in processes)
            if failed or time.monotonic() > deadline:
                time.sleep(1.0)
                for process in processes:
                    process.kill()
            time.sleep(0.05)
        return next((process.exitcode for process in processes if process.exitcode), 0)


def _run_program(tree: str, place: str, words: list[str], environment: dict[str, str], log: str) -> None:
    """In a forked process: runs a program as ``python WORDS`` would in this directory."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [tree, *(path for path in sys.path if not (Path(path) / "gnnrec").is_dir())]
    for name in [name for name in sys.modules if name.split(".")[0] in ("benchmarks", "gnnrec")]:
        del sys.modules[name]
    found = importlib.util.find_spec("gnnrec")
    if found is None or Path(str(found.origin)).parent != Path(tree) / "gnnrec":
        raise ImportError(f"gnnrec would not be imported from {tree}")
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
