"""The benchmark runs from end to end on tiny data, and its arithmetic is right. It says nothing about time."""

from __future__ import annotations

import sys

import pytest

from benchmarks import checkpoint_cost
from benchmarks.checkpoint_cost import Turn, figures


@pytest.mark.slow
def test_quick_prints_every_row_and_writes_no_file(monkeypatch, capsys):
    written = []
    monkeypatch.setattr(checkpoint_cost.record, "write", lambda *args: written.append(args))
    monkeypatch.setattr(sys, "argv", ["checkpoint_cost", "--quick"])
    checkpoint_cost.main()
    rows = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert int(rows["checkpoint_bytes"]) > 10_000 and not written
    for name in ("snapshot_seconds", "background_seconds", "foreground_seconds", "peak_gib_with"):
        assert float(rows[name]) > 0


def test_shares_are_of_the_time_with_checkpoints():
    turns = {
        "none": [Turn(10.0, [1.0] * 10, peak=2**30)],
        "background": [Turn(10.5, [1.0] * 8 + [1.2] * 2, [1.2] * 2, 0.1, 2.0, 0.05, 2**31)],
        "foreground": [Turn(12.5, [1.0] * 10, [], 0.1, 2.0, 2.3, 2**31)],
    }
    found = figures(turns, 10)
    assert found["background_cost_seconds"] == 0.5 and found["foreground_cost_seconds"] == 2.5
    assert found["background_share_every_10_steps"] == pytest.approx(0.5 / 10.5, abs=1e-4)
    assert found["foreground_share_every_5_minutes"] == pytest.approx(2.5 / 302.5, abs=1e-6)
    assert found["foreground_seconds"] == 2.4 and found["background_stands_still_seconds"] == 0.15
    assert (found["step_slowdown_meanwhile"], found["steps_meanwhile"]) == (1.2, 2.0)
    assert (found["peak_gib_without"], found["peak_gib_with"]) == (1.0, 2.0)
