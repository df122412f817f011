"""Calls whole programs on a device and on the CPU: ``python -m tests.pretend_gpu.whole_paths PLACE pretend | cuda``.

``PLACE`` holds the prepared datasets ``ratings`` and ``ranking``, and ``new_users.csv`` and ``pairs.csv``. Prints a
JSON object: kind of run -> step -> results on both devices, or the text of an error. A step that fails ends its kind.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import torch

from gnnrec.cli.main import run_command
from gnnrec.config.train_config import parse_train_config
from gnnrec.distributed import process_group
from gnnrec.distributed.shutdown import StopRequest
from gnnrec.distributed.world import World
from gnnrec.evaluation.metrics import prefixed
from gnnrec.inference.evaluate import EvaluateOptions, evaluate
from gnnrec.kernels import dispatch
from gnnrec.training.run import train
from tests.pretend_gpu.device import pretend_gpu

COMMON = (
    "--wandb.mode disabled --optimizer.epochs 2 --log-every 1 --loader.folds 3 --resume auto "
    "--checkpoint.every-steps 1 --bf16 false"
).split()
#: Kind -> dataset and options of training.
KINDS = {
    "ratings": ("ratings", ["--model.dim", "8", "--baselines", "false"]),
    "ranking": ("ranking", ["--objective", "ranking", "--ranking.dim", "8", "--ranking.users-a-step", "12"]),
}


class Interruption(StopRequest):
    """Stop request that ends a program like Ctrl-C once there is a checkpoint; programs read it after every step."""

    def __init__(self, run: Path):
        super().__init__()
        self.run = run

    @property
    def code(self) -> int:
        if list(self.run.rglob("step-*")):
            raise KeyboardInterrupt
        return 0


def steps(place: Path, out: Path, kind: str, device: torch.device) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields names and functions of the steps in their order; each returns numbers."""
    name, options = KINDS[kind]
    run = out / "run"
    words = ["--data", str(place / name), "--run-dir", str(run), *COMMON, *options]

    def trained(stop: StopRequest) -> object:
        try:
            summary = train(parse_train_config(words), World(device=device, stop=stop))
        except KeyboardInterrupt:
            return sorted(path.name for path in run.rglob("step-*"))
        return {name: value for name, value in summary.items() if name.startswith(("test_", "validation_"))}

    def command(word: str, *more: str) -> None:
        run_command([word, str(run), *map(str, more)])

    def exported(*more: str) -> list:
        command("export", "--out", out / "export", "--overwrite", "true", *more)
        return numbers(out / "export")

    yield "train", lambda: trained(Interruption(run))
    yield "resume", lambda: trained(StopRequest())
    yield "evaluate", lambda: described(evaluate(run, EvaluateOptions(k=[3]), World(device=device)))
    yield "export", exported
    yield "recommend to one", lambda: command("recommend", "--user", "7")

    def recommended() -> list:
        command("recommend", "--all", "true", "--top", "5", "--out", out / "all")
        return numbers(out / "all", sort=True)

    yield "recommend to all", recommended
    if kind == "ratings":
        yield "similar", lambda: command("recommend", "--similar-to", "2")
        yield "new users", lambda: exported("--ratings", place / "new_users.csv")

        def predicted() -> list:
            command("predict", "--pairs", place / "pairs.csv", "--out", out / "pairs.parquet")
            return numbers(out / "pairs.parquet")

        yield "predict", predicted
        yield "report", lambda: command("report")


def described(found: dict) -> dict:
    """Metrics by split, or by length of lists."""
    return {split: [prefixed("", each) for each in np.atleast_1d(metrics)] for split, metrics in found.items()}


def numbers(path: Path, sort: bool = False) -> list[float]:
    """Returns all floats in Parquet files; movies with equal scores may change places, so they can be sorted."""
    values: list = []
    for file in sorted(path.rglob("*.parquet")) if path.is_dir() else [path]:
        for column in pq.read_table(file).columns:
            column = column.combine_chunks()
            while hasattr(column, "flatten") and "list" in str(column.type):
                column = column.flatten()
            if "float" in str(column.type):
                values += column.to_pylist()
    assert values
    return sorted(values) if sort else values


def run_all(place: Path, out: Path, kind: str, device: torch.device) -> dict[str, object]:
    """Returns the results of all steps on a device."""
    results: dict[str, object] = {}
    with mock.patch.object(process_group, "select_device", lambda *_: device):
        for name, step in steps(place, out, kind, device):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    results[name] = step()
            except BaseException:
                results[name] = {"error": traceback.format_exc(limit=-6)}
                break
    return results


@contextlib.contextmanager
def on_device(name: str) -> Iterator[torch.device]:
    """Context in which a device can be used; on the pretend GPU with kernels in plain torch."""
    if name == "cuda":
        yield torch.device("cuda", 0)
        return
    with dispatch.forced("reference"), pretend_gpu() as device:
        yield device


def main(place: Path, name: str) -> None:
    found = {}
    for kind in KINDS:
        with dispatch.forced("reference"):
            expected = run_all(place, place / f"cpu-{kind}", kind, torch.device("cpu"))
        with on_device(name) as device:
            actual = run_all(place, place / f"{name}-{kind}", kind, device)
        found[kind] = {step: {"cpu": value, "device": actual.get(step)} for step, value in expected.items()}
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
