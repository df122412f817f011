"""Runs a function on several gloo ranks, each in its own process."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gnnrec.distributed.world import World

#: Imported once, by the server that forks the ranks. DDP imports torch._dynamo, which takes two seconds.
PRELOADED = ["gnnrec.training.run", "gnnrec.cli.main", "sklearn.metrics", "scipy.stats", "torch._dynamo"]


def run_on_ranks(size: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Calls ``function(world, *args)`` on ``size`` ranks and returns what each rank returned.

    Args:
        size: Number of ranks; one rank runs in this process.
        function: A function at the top level of a module.
        args: Picklable arguments.
    """
    if size == 1:
        return [function(World(), *args)]
    with tempfile.TemporaryDirectory() as directory:
        # A server that has imported everything once forks every rank: a rank then starts at once.
        multiprocessing.set_forkserver_preload(PRELOADED)
        mp.start_processes(_main, (size, directory, function, args), nprocs=size, start_method="forkserver")
        return [torch.load(Path(directory) / f"{rank}.pt", weights_only=False) for rank in range(size)]


def _main(rank: int, size: int, directory: str, function: Callable[..., Any], args: tuple) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{directory}/store", rank=rank, world_size=size)
    result = function(World(rank, size), *args)
    torch.save(result, Path(directory) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
