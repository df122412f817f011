"""Counts the files and the functions that one whole-neighborhood training step enters, and its changes of file.

    python -m benchmarks.step_trace --tree CHECKOUT

It runs ``train_dist.py`` of a checkout in one process for three steps and counts with :func:`sys.setprofile`. The step
that counts is the second: from the end of the last optimizer's ``step`` of the first step to the end of the last
optimizer's ``step`` of the second. Each fold is one step here, so this covers everything that repeats in every step:
what follows the update (norms, counts, checkpoints), then making a batch with the statistics of its fold, forward,
backward and update. Compilation comes before it, and the end of an epoch after it. ``from_batch`` has the figures of
its later part, without what follows an update: it begins with the first function of ``graph/``.

- ``files``: source files of the package with a function that is entered.
- ``functions``: names of functions that are entered, by file; all lambdas of a file are one, as are its comprehensions.
- ``entries``: how often a function is entered. A generator is entered each time that it is resumed.
- ``changes_of_file``: in the list of all entries, how often the next one is in another file than the one before.
- ``changes_of_file_with_returns``: how often control goes from one file to another, by calls and by returns. After an
  entry control is in the function that was entered, after a return in the innermost function of the package that is
  still active. So a call into another file makes two changes, one there and one back.

Functions of other packages are left out of the list of entries. Only the main thread is seen, which also computes
gradients on the CPU. Compiled kernels are not seen.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_STEPS = 3


class Trace:
    """The entries of functions of a package and the returns from them, and where optimizers have stepped.

    Args:
        package: Directory of the package.

    Attributes:
        events: A code object for each entry, None for each return.
        marks: Length of ``events`` at the end of each step of an optimizer.
    """

    def __init__(self, package: Path):
        self.package = f"{package}{os.sep}"
        self.events: list[CodeType | None] = []
        self.marks: list[int] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Takes an event of :func:`sys.setprofile`."""
        if event in ("call", "return") and frame.f_code.co_filename.startswith(self.package):
            self.events.append(frame.f_code if event == "call" else None)

    def mark(self, *_: Any) -> None:
        """Notes the end of a step of an optimizer, as a hook of it."""
        self.marks.append(len(self.events))

    def figures(self) -> dict[str, Any]:
        """The figures of the second step, and of its part ``from_batch``.

        Raises:
            ValueError: The steps of the optimizers are not those of three steps.
        """
        if not self.marks or len(self.marks) % _STEPS:
            raise ValueError(f"optimizers have stepped {len(self.marks)} times in {_STEPS} steps")
        optimizers = len(self.marks) // _STEPS
        first, last = self.marks[optimizers - 1], self.marks[2 * optimizers - 1]
        figures = self._between(first, last)
        graph = f"{self.package}graph{os.sep}"
        codes = ((at, self.events[at]) for at in range(first, last))
        starts = (at for at, code in codes if code is not None and code.co_filename.startswith(graph))
        return figures | {"from_batch": self._between(next(starts), last)}

    def _between(self, first: int, last: int) -> dict[str, Any]:
        """The figures of some consecutive events."""
        entered = [code for code in self.events[first:last] if code is not None]
        files = [code.co_filename for code in entered]
        places = self._places(last)[max(first - 1, 0) :]
        return {
            "files": len(set(files)),
            "functions": len({(code.co_filename, code.co_name) for code in entered}),
            "entries": len(entered),
            "changes_of_file": _changes(files),
            "changes_of_file_with_returns": _changes(places),
        }

    def _places(self, last: int) -> list[str]:
        """The file that control is in after each of the first ``last`` events."""
        active: list[str] = []
        places = []
        for code in self.events[:last]:
            if code is None:
                active.pop()
            else:
                active.append(code.co_filename)
            places.append(active[-1] if active else "")
        return places


def _changes(places: list[str]) -> int:
    return sum(before != after for before, after in zip(places, places[1:]))


def trace(tree: Path, arguments: list[str]) -> dict[str, Any]:
    """Runs ``train_dist.py`` of a checkout in this process, and returns the figures of its second step."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    watched = Trace(tree / "gnnrec")
    register_optimizer_step_post_hook(watched.mark)
    program = str(tree / "train_dist.py")
    sys.argv = [program, *arguments]
    sys.setprofile(watched)
    try:
        runpy.run_path(program, run_name="__main__")
    finally:
        sys.setprofile(None)
    return watched.figures()


def main() -> None:
    """The command line; the checkout runs in a separate process, in which only its package can be imported."""
    parser = argparse.ArgumentParser(prog="step_trace", description="Counts the code of one training step.")
    parser.add_argument("--tree", type=Path, required=True, help="the checkout")
    tree = parser.parse_args().tree.resolve()
    from benchmarks.same_numbers_cases import write_raw

    with tempfile.TemporaryDirectory(prefix="step-trace-") as place:
        write_raw(Path(place) / "raw")
        environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        options = [f"--config={tree / 'configs' / 'rating.yaml'}", "--data=data", "--run-dir=run", "--device=cpu"]
        options += [f"--max-steps={_STEPS}", "--wandb.mode=disabled", "--baselines=false"]
        commands = [
            ["-m", "gnnrec", "prepare", "data", "--ratings=raw"],
            [str(Path(__file__).resolve()), str(tree), *options],
        ]
        for words in commands:
            done = subprocess.run(
                [sys.executable, *words], cwd=place, env=environment, check=True, stdout=subprocess.PIPE, text=True
            )
    print(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    if len(sys.argv) > 2 and not sys.argv[1].startswith("-"):
        sys.path.pop(0)  # the directory of this file, whose modules have names that others may have too
        print(json.dumps(trace(Path(sys.argv[1]), sys.argv[2:])))
    else:
        main()
