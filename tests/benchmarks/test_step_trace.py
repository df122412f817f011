"""The count of files, functions and changes of file, on a package whose calls are known."""

from __future__ import annotations

import runpy
import sys

import pytest

from benchmarks.step_trace import Trace


def test_entries_and_changes_of_the_second_step_are_counted(tmp_path):
    package = tmp_path / "gnnrec"
    (package / "graph").mkdir(parents=True)
    (package / "graph" / "batch.py").write_text(
        "def make(later):\n    return [helper(), later(), helper()]\n\ndef helper():\n    return 1\n"
    )
    (package / "model.py").write_text(
        "def step(make):\n    before()\n    return make(loss)\n\ndef before():\n    pass\ndef loss():\n    pass\n"
    )
    trace = Trace(package)
    model, batch = (runpy.run_path(str(path)) for path in (package / "model.py", package / "graph" / "batch.py"))
    sys.setprofile(trace)
    try:
        for _ in range(3):
            model["step"](batch["make"])
            trace.mark()
    finally:
        sys.setprofile(None)
    figures = trace.figures()
    part = figures.pop("from_batch")
    # step, before | make, helper | loss | helper; returns lead from before to step, and from loss and make back.
    assert figures == {
        "files": 2, "functions": 5, "entries": 6, "changes_of_file": 3, "changes_of_file_with_returns": 6,
    }  # fmt: skip
    assert part["files"] == 2 and part["functions"] == 3 and part["entries"] == 4


def test_steps_that_are_missing_are_noticed(tmp_path):
    trace = Trace(tmp_path)
    with pytest.raises(ValueError, match="0 times"):
        trace.figures()
    trace.mark()
    with pytest.raises(ValueError, match="1 times"):
        trace.figures()
