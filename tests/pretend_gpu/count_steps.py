"""Counts training steps and validations on the pretend GPU: ``python -m tests.pretend_gpu.count_steps CASES``.

``CASES`` is a JSON file: name -> ``data`` (a prepared directory), ``options`` of training, and ``counts``, which is
``steps`` for the mean of all steps of the second epoch, or ``validation`` for the second validation. A case may set
``chunk``, the most entries of a list for one program, so that lists of a small dataset are divided as long ones are.
Prints a JSON object with the counts of each case, or the error that ended it. With ``TRITON_INTERPRET=1`` Triton's
kernels run, otherwise those in plain torch.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections import Counter
from pathlib import Path

from benchmarks.steps import run_epoch
from gnnrec.config.train_config import parse_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.run import build_trainer
from tests.pretend_gpu.counting import Counts
from tests.pretend_gpu.device import counting, pretend_gpu
from tests.pretend_gpu.triton_kernels import interpreted

#: Table cells that a program of the Triton kernels of lists reads at a time in the interpreter: as on a GPU, times 32.
#: It takes as many seconds as there are reads; bytes and launches do not depend on them.
_READ = 1 << 15
#: Most entries of a list for one program, as on a GPU.
_CHUNK = 512


def count(case: dict) -> dict:
    """Returns the counts of a case, each divided by the number of steps."""
    if interpreted():
        from gnnrec.kernels import chunks_triton

        chunks_triton._READ, chunks_triton.CHUNK = _READ, case.get("chunk", _CHUNK)
    options = [f"--data={case['data']}", "--run_dir=unused", "--log_every=1000000"]
    config = parse_train_config([*case["options"], *options])
    with pretend_gpu() as device:
        trainer = build_trainer(config, PreparedDataset(Path(case["data"])), World(device=device))
        with counting() as counts:
            try:
                steps = _validations(trainer, counts) if case["counts"] == "validation" else _epochs(trainer, counts)
            except Exception:
                return {"device_mixing": counts.mixing, "error": traceback.format_exc(limit=-4)}
    return {"steps": steps} | means(counts, steps)


def _epochs(trainer, counts: Counts) -> int:
    list(run_epoch(trainer, 0))
    counts.clear()
    list(run_epoch(trainer, 1))
    return trainer.steps_an_epoch


def _validations(trainer, counts: Counts) -> int:
    trainer.validate()
    counts.clear()
    trainer.validate()
    return 1


def means(counts: Counts, steps: int) -> dict:
    """Counts of a step."""

    def by_name(counter: Counter) -> dict[str, float]:
        return {name: number / steps for name, number in counter.most_common()}

    return {
        "waits": counts.waits.total() / steps,
        "operators": counts.operators.total() / steps,
        "launches": counts.launches / steps,
        "bytes": counts.bytes.total() / steps,
        "device_mixing": counts.mixing,
        "triton": by_name(counts.triton),
        "waits_by_line": by_name(counts.waits),
        "bytes_by_operator": by_name(counts.bytes),
    }


def main(cases: dict[str, dict]) -> None:
    print(json.dumps({name: count(case) for name, case in cases.items()}, indent=1))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
