"""Short runs whose steps are timed in stages, to fit and check the constants of ``gnnrec plan``."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.steps import run_epoch
from gnnrec.config.train_config import TrainConfig, parse_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Batch
from gnnrec.graph.folds import Step
from gnnrec.tools.planning.dataset import job_of_dataset
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.step_meter import making_batch
from gnnrec.utils import memory
from gnnrec.utils.timer import Timer


class TimedTrainer(RatingTrainer):
    """Times batches and updates apart from forward and backward."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.updating = Timer()

    def make_batch(self, epoch: int, index: int) -> tuple[Step, Batch]:
        with making_batch(self.world.collective_stats, self.batch_timer):
            return super().make_batch(epoch, index)

    def update(self, lr: float) -> None:
        with self.updating:
            super().update(lr)


def config_of(data: Path, options: list[str]) -> TrainConfig:
    """A configuration on the CPU; ``--loader.folds`` sets the steps of an epoch."""
    fixed = [f"--data={data}", "--run-dir=unused", "--device=cpu", "--optimizer.epochs=1000", "--log-every=1000000"]
    return parse_train_config([*fixed, *options])


def job_of(data: Path, options: list[str], ranks: int) -> TrainingJob:
    """The same run, as the cost model describes it."""
    config = config_of(data, options)
    return job_of_dataset(data, config.model, config.loader, ranks)


def measure(data: Path, options: list[str], ranks: int = 1, epochs: int = 8) -> dict[str, float]:
    """Measures seconds of a step by stage, bytes of all-reduces and peak memory, of the slowest or largest rank.

    Every rank is a separate process with one thread. One epoch compiles and fills caches; the fastest of the next
    ones counts, since other work on the machine only adds time.

    Args:
        data: A prepared dataset.
        options: Options of training, as on the command line.
        ranks: Ranks.
        epochs: Epochs that are timed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.plan_runs", "sklearn.metrics", "torch._dynamo"])
    with tempfile.TemporaryDirectory() as directory:
        arguments = [(rank, ranks, directory, data, options, epochs) for rank in range(ranks)]
        processes = [context.Process(target=_rank, args=each) for each in arguments]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        found = [json.loads(Path(directory, f"{rank}.json").read_text()) for rank in range(ranks)]
    return {name: max(each[name] for each in found) for name in found[0]}


def _rank(rank: int, size: int, directory: str, data: Path, options: list[str], epochs: int) -> None:
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{directory}/store", rank=rank, world_size=size)
    world = World(rank, size)
    base = _status("VmRSS")
    trainer = TimedTrainer(config_of(data, options), PreparedDataset(data), world)
    memory.keep_freed()
    _epoch(trainer, 0)
    _forget_peak()
    rows = [_epoch(trainer, 1 + number) for number in range(epochs)]
    found = min(rows, key=lambda row: row["step"])
    found |= {"base_bytes": base, "peak_bytes": _status("VmHWM")}
    Path(directory, f"{rank}.json").write_text(json.dumps(found))
    if size > 1:
        dist.barrier()
        dist.destroy_process_group()


def _epoch(trainer: TimedTrainer, number: int) -> dict[str, float]:
    """Means over the steps of one epoch."""
    traffic = trainer.world.collective_stats

    def read() -> list[float]:
        made = trainer.batch_timer.seconds - traffic.batch_seconds
        return [time.perf_counter(), made, trainer.updating.seconds, traffic.seconds, traffic.bytes]

    trainer.world.barrier()
    before = read()
    steps = sum(1 for _ in run_epoch(trainer, number))
    whole, batch, update, waiting, sent = ((now - then) / steps for now, then in zip(read(), before))
    stages = {"batch": batch, "learn": whole - batch - update - waiting, "update": update, "collectives": waiting}
    return {"step": whole} | stages | {"bytes": sent}


def _forget_peak() -> None:
    """Resets the peak that the kernel counts (Linux: Documentation/filesystems/proc.rst)."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    """Bytes of a line of ``/proc/self/status``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))
