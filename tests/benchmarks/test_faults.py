"""Faults of ``benchmarks.faults`` have an effect, and the campaign sees what goes wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.fault_campaign import Campaign, write_ratings
from benchmarks.fault_kinds import ReadOnlyDisk, SmallMemory
from benchmarks.fault_programs import Outcome, run_program
from benchmarks.fault_ranks import kill

pytestmark = pytest.mark.slow


@pytest.fixture
def prepare(tmp_path: Path):
    """A function that runs ``gnnrec prepare`` under a fault."""
    ratings = tmp_path / "ratings"
    write_ratings(ratings)

    def run(fault) -> Outcome:
        words = ["gnnrec", "prepare", str(tmp_path / "place" / "data"), "--ratings", str(ratings)]
        (tmp_path / "place").mkdir(exist_ok=True)
        return run_program(words, tmp_path / "log", fault)

    return run


def test_little_memory_ends_with_one_line(prepare, tmp_path):
    outcome = prepare(SmallMemory(1 << 20))
    assert outcome.code == 2 and len(outcome.output.splitlines()) == 1, outcome.output
    assert "error: out of memory" in outcome.output and not list((tmp_path / "place").iterdir())
    assert prepare(None).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_read_only_disk_ends_with_one_line(prepare, tmp_path):
    outcome = prepare(ReadOnlyDisk(tmp_path / "place", 0.0))
    assert outcome.code == 2 and len(outcome.output.splitlines()) == 1, outcome.output
    assert "ead-only" in outcome.output and not list((tmp_path / "place").iterdir())
    assert prepare(None).code == 0


def test_a_killed_run_is_resumed_by_another_number_of_ranks(tmp_path):
    campaign = Campaign(tmp_path, ["train"])
    fault = next(found for found in (kill(campaign, number) for number in range(5)) if found is not None)
    assert fault.code != 0 and "resumed by" in fault.detail and not fault.wrong
