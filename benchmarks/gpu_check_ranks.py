"""Part of ``benchmarks.gpu_check`` with two ranks on one card. They use gloo: NCCL refuses two ranks on one card."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.gpu_check_device import device
from benchmarks.steps import run_epoch
from gnnrec.config.train_config import parse_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.rating_trainer import RatingTrainer

#: Steps that are compared, and the largest relative difference of their losses: sums have another order.
STEPS, TOLERANCE = 4, 1e-4


def two_ranks(place: Path, quick: bool) -> dict:
    """Compares losses of steps on two ranks with those on one.

    Raises:
        SystemExit: They differ.
    """
    one = losses(World(device=device(quick)), place / "data", quick)
    with tempfile.TemporaryDirectory() as directory:
        mp.spawn(_rank, (directory, str(place / "data"), quick), nprocs=2)
        parts = [torch.load(Path(directory) / f"{rank}.pt") for rank in range(2)]
    two = [sum(pair) for pair in zip(*parts)]
    worst = max(abs(ours - theirs) / abs(theirs) for ours, theirs in zip(two, one))
    if not worst <= TOLERANCE:
        raise SystemExit(f"losses of two ranks differ from those of one by {worst:.2g} of them: {two}, {one}")
    return {"steps": STEPS, "largest_difference": worst}


def losses(world: World, data: Path, quick: bool) -> list[float]:
    """Losses of the first steps, summed over the targets of this rank."""
    options = ["--config=configs/ml20m_full.yaml", f"--data={data}", "--run-dir=unused", "--bf16=false"]
    config = parse_train_config(options + ["--model.dim=8"] * quick)
    trainer = RatingTrainer(config, PreparedDataset(data), world)
    return [taken.loss.item() for _, taken in zip(range(STEPS), run_epoch(trainer, 0))]


def _rank(rank: int, directory: str, data: str, quick: bool) -> None:
    dist.init_process_group("gloo", init_method=f"file://{directory}/store", rank=rank, world_size=2)
    found = losses(World(rank, 2, device(quick)), Path(data), quick)
    torch.save(found, Path(directory) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
