"""Cost of a checkpoint: its size, the time for which training pauses, slower steps meanwhile, and memory.

    python -m benchmarks.checkpoint_cost --data PREPARED --threads 2
    python -m benchmarks.checkpoint_cost --quick

One rank takes turns of ``--every`` steps: without a checkpoint, with one that is written in the background, and with
one that is waited for. ``--quick`` runs everything on tiny synthetic data and writes no file.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks import ours, record
from benchmarks.steps import run_epoch
from benchmarks.train_speed import tiny_dataset
from gnnrec.training.checkpoint.info import CheckpointInfo
from gnnrec.training.checkpoint.write import CheckpointWriter
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.utils import memory

WAYS = ("none", "background", "foreground")
_MINUTES = 5


@dataclasses.dataclass
class Turn:
    """Some steps, and perhaps one checkpoint.

    Attributes:
        seconds: Duration of the turn.
        steps: Seconds of each step.
        meanwhile: Seconds of the steps during which a checkpoint was being written.
        snapshot: Seconds until training continued.
        written: Seconds until the files were on the disk.
        finish: Seconds for which training paused again, to give the directory its name.
        peak: Most bytes that the process held.
    """

    seconds: float = 0.0
    steps: list[float] = dataclasses.field(default_factory=list)
    meanwhile: list[float] = dataclasses.field(default_factory=list)
    snapshot: float = 0.0
    written: float = 0.0
    finish: float = 0.0
    peak: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a prepared dataset of MovieLens 20M's size")
    parser.add_argument("--directory", type=Path, help="directory for checkpoints (default: a temporary one)")
    parser.add_argument("--threads", type=int, help="threads of torch and of our kernels (default: the cores)")
    parser.add_argument("--every", type=int, default=20, help="steps per turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each kind")
    parser.add_argument("--quick", action="store_true", help="use tiny data and one round, and write no result file")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        if options.quick:
            options.data, options.every, options.rounds = tiny_dataset(Path(place)), 10, 1
        elif options.data is None:
            parser.error("give --data PREPARED or --quick")
        found = measure(options, Path(place))
    for name, value in found.items():
        print(f"{name:44} {value}")
    if not options.quick:
        print(record.write("checkpoint_cost", "benchmarks.checkpoint_cost", found))


def measure(options: argparse.Namespace, place: Path) -> dict:
    """Measures all figures."""
    # The schedule does not matter here, but there must be enough steps.
    trainer = ours.build(options.data, ["--config=configs/ml20m_full.yaml", "--optimizer.epochs=1000"])
    memory.keep_freed()
    steps = _steps(trainer)
    _turn(trainer, steps, 3, "none", place)
    turns: dict[str, list[Turn]] = {way: [] for way in WAYS}
    # The first turns measure the memory of training itself.
    for way in WAYS * options.rounds:
        turns[way].append(_turn(trainer, steps, options.every, way, place))
    return figures(turns, options.every) | _sizes(place) | {"threads": torch.get_num_threads()}


def figures(turns: dict[str, list[Turn]], every: int) -> dict:
    """Medians over turns. The cost of a turn is the time it took longer than a turn without a checkpoint."""

    def median(values: list[float]) -> float:
        return round(statistics.median(values), 4)

    step = statistics.median(seconds for turn in turns["none"] for seconds in turn.steps)
    plain = statistics.median(turn.seconds for turn in turns["none"])
    found: dict = {"step_seconds": round(step, 4), "steps_a_turn": every}
    found["seconds_of_turns"] = {way: [round(turn.seconds, 3) for turn in turns[way]] for way in WAYS}
    background, foreground = turns["background"], turns["foreground"]
    found["snapshot_seconds"] = median([turn.snapshot for turn in background])
    found["background_seconds"] = median([turn.written for turn in background])
    found["finish_seconds"] = median([turn.finish for turn in background])
    found["foreground_seconds"] = median([turn.snapshot + turn.finish for turn in foreground])
    meanwhile = [seconds for turn in background for seconds in turn.meanwhile]
    found["steps_meanwhile"] = round(len(meanwhile) / len(background), 1)
    found["step_slowdown_meanwhile"] = round(statistics.mean(meanwhile) / step, 3) if meanwhile else 1.0
    for way in WAYS[1:]:
        stands_still = median([turn.snapshot + turn.finish for turn in turns[way]])
        cost = median([turn.seconds for turn in turns[way]]) - plain
        found[f"{way}_stands_still_seconds"] = stands_still
        found[f"{way}_cost_seconds"] = round(cost, 4)
        found[f"{way}_share_every_{every}_steps"] = round(cost / (plain + cost), 4)
        found[f"{way}_share_every_{_MINUTES}_minutes"] = round(cost / (60 * _MINUTES + cost), 6)
    found["peak_gib_without"] = round(turns["none"][0].peak / 2**30, 3)
    found["peak_gib_with"] = round(max(turn.peak for turn in background) / 2**30, 3)
    return found


def _turn(trainer: RatingTrainer, steps: Iterator[None], count: int, way: str, place: Path) -> Turn:
    """Takes ``count`` steps; the checkpoint begins after the second."""
    turn, writer = Turn(), None
    _forget_peak()
    began = time.perf_counter()
    for number in range(count):
        was_busy, since = writer is not None and writer.busy, time.perf_counter()
        next(steps)
        seconds = time.perf_counter() - since
        turn.steps.append(seconds)
        if was_busy:
            turn.meanwhile.append(seconds)
        if way != "none" and number == min(1, count - 1):
            since = time.perf_counter()
            writer = _Timed(place / "checkpoints" / "step-0000000001", trainer)
            turn.snapshot = time.perf_counter() - since
        if writer is not None and (way == "foreground" or not writer.busy or number == count - 1):
            since = time.perf_counter()
            writer.finish()
            turn.finish, turn.written, writer = time.perf_counter() - since, writer.ended - writer.began, None
    turn.seconds, turn.peak = time.perf_counter() - began, _peak()
    return turn


class _Timed(CheckpointWriter):
    """A writer that measures how long it writes."""

    def __init__(self, directory: Path, trainer: RatingTrainer):
        self.began = self.ended = time.perf_counter()
        step, dataset = trainer.steps_taken, trainer.dataset.fingerprint
        info = CheckpointInfo(0, step, {}, dataset, config=trainer.config.as_dict())
        super().__init__(directory, trainer.checkpoint_state().copy(trainer.world), info, trainer.world)

    def _write(self) -> tuple[dict[str, str], str | None]:
        written = super()._write()
        self.ended = time.perf_counter()
        return written


def _steps(trainer: RatingTrainer) -> Iterator[None]:
    for number in range(trainer.config.optimizer.epochs):
        for _ in run_epoch(trainer, number):
            yield


def _sizes(place: Path) -> dict:
    directory = place / "checkpoints" / "step-0000000001"
    sizes = {path.name: path.stat().st_size for path in sorted(directory.iterdir())}
    return {"checkpoint_bytes": sum(sizes.values()), "bytes_of_files": sizes}


def _forget_peak() -> None:
    """Resets the peak that the kernel counts (Linux: Documentation/filesystems/proc.rst)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Most resident bytes since the reset."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    main()
