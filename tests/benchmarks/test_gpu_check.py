"""The check of a GPU runs all of its parts on tiny data without one, and reports parts that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from benchmarks import gpu_check
from tests.end_to_end.commands import ROOT


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> tuple[str, dict[str, dict]]:
    """Output of the quick check, and its records by part."""
    place = tmp_path_factory.mktemp("gpu_check")
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--quick", "--place", str(place)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (place / "gpu_check.jsonl").read_text().splitlines()
    return done.stdout, {record["part"]: record for record in map(json.loads, lines)}


@pytest.mark.slow
def test_every_part_runs(quick):
    printed, records = quick
    assert list(records) == list(gpu_check.PARTS)
    for name, record in records.items():
        assert record["outcome"] == "done" and record["figures"], record
        assert f"\n{name} " in printed


@pytest.mark.slow
@pytest.mark.parametrize("part", ["full_float32", "full_bf16", "sage", "gat"])
def test_parts_take_steps(quick, part):
    figures = quick[1][part]["figures"]
    assert figures["ms_a_step"] > 0 and 0 < figures["last_loss"] < 10
    assert figures["waits_a_step"] == sum(figures["waits_by_line"].values())


@pytest.mark.slow
def test_figures_of_other_parts(quick):
    figures = {name: record["figures"] for name, record in quick[1].items()}
    assert figures["kernels"]["cases"] > 25 and figures["kernels"]["failed"] == 0
    assert figures["resume"]["tensors"] > 5 and figures["resume"]["killed_after"].startswith("step-")
    assert figures["two_ranks"]["largest_difference"] < 1e-4
    assert figures["export"]["export_files"] > 0 and figures["export"]["recommendations_files"] > 0
    assert figures["plan"]["full_float32_ms"] == figures["full_float32"]["ms_a_step"]
    assert figures["plan"]["full_float32_plan_ms"] > 0


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Parts of a module that is made for the test."""
    package = tmp_path / "code" / "benchmarks"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "some_parts.py").write_text(
        "import os, subprocess, sys, time\n"
        "def good(place, quick): return {'number': 3}\n"
        "def bad(place, quick): raise SystemExit('two of three cases fail')\n"
        "def lacking(place, quick): import no_such_package_here\n"
        "def slow(place, quick):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "    (place / 'child').write_text(str(child.pid))\n"
        "    time.sleep(60)\n"
    )
    source = (ROOT / "benchmarks" / "gpu_check.py").read_text()
    table = {name: ("some_parts", 5) for name in ("slow", "bad", "lacking", "good")}
    (package / "gpu_check.py").write_text(
        source.replace("def missing_packages", f"PARTS = {table}\n\n\ndef missing_packages")
    )
    monkeypatch.setattr(gpu_check, "PARTS", table)
    monkeypatch.setattr(gpu_check, "REPOSITORY", package.parent)
    return list(table)


@pytest.mark.slow
def test_a_part_that_fails_does_not_end_the_check(parts, tmp_path, capsys):
    records = {record["part"]: record for record in gpu_check.run_parts(parts, tmp_path, False, tmp_path / "log.jsonl")}
    assert [record["outcome"] for record in records.values()] == ["time-out", "failed", "failed", "done"]
    assert records["good"]["figures"] == {"number": 3} and records["slow"]["seconds"] < 20
    assert records["bad"]["error"] == "two of three cases fail"
    assert "no_such_package_here" in records["lacking"]["error"]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == list(records.values())
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child), "a part that is cut leaves no process"
    gpu_check.print_table(list(records.values()), ["wandb"])
    printed = capsys.readouterr().out
    assert "number 3" in printed and "missing packages: wandb" in printed


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent to read its exit code."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(gpu_check, "PACKAGES", ["json", "no_such_package_here"])
    assert gpu_check.missing_packages() == ["no_such_package_here"]
