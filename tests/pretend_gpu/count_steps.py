"""Counts training steps and validations on the pretend GPU: ``python -m tests.pretend_gpu.count_steps CASES``.

``CASES`` is a JSON file: name -> ``data`` (a prepared directory), ``options`` of training, and ``counts``, which is
``steps`` for the mean of the steps of the second epoch, or ``validation`` for the second validation. A case may set
``chunk``, the most entries of a list for one program, so that lists of a small dataset are divided as long ones are.
Prints a JSON object with the counts of each case, or the error that ended it. With ``TRITON_INTERPRET=1`` Triton's
kernels run, otherwise those in plain torch.

The interpreter is slow, so a mean is made of few steps, each weighted with how often it occurs: the first of the epoch,
which also prepares the epoch and a group of folds; the first of every other group; the first of the second pass over
the users, which also prepares the pass; and the two after the first. Rankings have no passes.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gnnrec.config.train_config import parse_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.fold_biases import group_of
from gnnrec.kernels import dispatch
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.run import build_trainer
from gnnrec.training.trainer import Trainer
from tests.pretend_gpu.counting import Counts
from tests.pretend_gpu.device import counting, pretend_gpu
from tests.pretend_gpu.triton_kernels import interpreted

#: Table cells that a program of the Triton kernels of lists reads at a time in the interpreter: as on a GPU, times 4.
#: It takes as many seconds as there are reads; bytes and launches do not depend on them.
_READ = 1 << 12
#: Most entries of a list for one program, as on a GPU.
_CHUNK = 512


def count(case: dict) -> dict:
    """Returns the counts of a case."""
    if interpreted():
        from gnnrec.kernels import chunks_triton

        chunks_triton._READ, chunks_triton.CHUNK = _READ, case.get("chunk", _CHUNK)
    options = [f"--data={case['data']}", "--run_dir=unused", "--log_every=1000000"]
    config = parse_train_config([*case["options"], *options])
    with pretend_gpu() as device, counting() as counts:
        try:
            trainer = build_trainer(config, PreparedDataset(Path(case["data"])), World(device=device))
            if case["counts"] == "validation":
                return _validation(trainer)
            return _rating_steps(trainer) if isinstance(trainer, RatingTrainer) else _ranking_steps(trainer)
        except Exception:
            return {"device_mixing": counts.mixing, "error": traceback.format_exc(limit=-4)}


def _rating_steps(trainer: RatingTrainer) -> dict:
    _not_counted(lambda: _take(trainer, 0, 0))
    slices, folds, steps = trainer.steps_a_pass, trainer.config.loader.folds, trainer.steps_an_epoch
    of_group = [_take(trainer, 1, 0)]
    plain = [_take(trainer, 1, index) for index in range(1, min(slices, 3))]
    of_pass = _take(trainer, 1, slices)
    plain = plain or [of_pass]
    begins = sorted({group_of(trainer.graph, fold, folds).start for fold in range(folds)})
    of_group += [_take(trainer, 1, fold * slices) for fold in begins[1:]]
    parts = [(counts, (1 - 1 / slices) / len(plain)) for counts in plain]
    parts += [(of_pass, 1 / slices - len(begins) / steps), *[(counts, 1 / steps) for counts in of_group]]
    step_waits = sum(counts.waits.total() for counts in plain) / len(plain)
    sizes = {"steps": steps, "steps_a_pass": slices, "groups": len(begins), "step_waits": step_waits}
    return sizes | weighted(parts)


def _ranking_steps(trainer: Trainer) -> dict:
    _not_counted(lambda: _take(trainer, 0, 0))
    steps = trainer.steps_an_epoch
    first, *plain = [_take(trainer, 1, index) for index in range(min(steps, 3))]
    plain = plain or [first]
    parts = [(first, 1 / steps), *[(counts, (1 - 1 / steps) / len(plain)) for counts in plain]]
    step_waits = sum(counts.waits.total() for counts in plain) / len(plain)
    return {"steps": steps, "steps_a_pass": 1, "groups": 1, "step_waits": step_waits} | weighted(parts)


def _validation(trainer: Trainer) -> dict:
    _not_counted(trainer.validate)
    with counting() as counts:
        trainer.validate()
    sizes = {"steps": 1, "steps_a_pass": 1, "groups": 1, "step_waits": counts.waits.total()}
    return sizes | weighted([(counts, 1.0)])


def _not_counted(function: Callable[[], object]) -> None:
    """Calls a function with kernels in plain torch: the interpreter is slow."""
    with dispatch.forced("reference"):
        function()


def _take(trainer: Trainer, epoch: int, index: int) -> Counts:
    with counting() as counts:
        step, batch = trainer.make_batch(epoch, index)
        trainer.forward_backward(step, batch)
        del batch
        trainer.optimizer_step()
    return counts


def weighted(parts: list[tuple[Counts, float]]) -> dict:
    """Weighted sum of counts."""

    def by_name(field: str) -> dict[str, float]:
        total: Counter = Counter()
        for counts, weight in parts:
            for name, number in getattr(counts, field).items():
                total[name] += weight * number
        return dict(total.most_common())

    waits, operators, launches, moved = (by_name(name) for name in ("waits", "operators", "launches", "bytes"))
    return {
        "waits": sum(waits.values()),
        "operators": sum(operators.values()),
        "launches": sum(launches.values()),
        "bytes": sum(moved.values()),
        "device_mixing": sum(counts.mixing for counts, _ in parts),
        "triton": by_name("triton"),
        "waits_by_line": waits,
        "launches_by_line": launches,
        "bytes_by_operator": moved,
    }


def main(cases: dict[str, dict]) -> None:
    print(json.dumps({name: count(case) for name, case in cases.items()}, indent=1))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
