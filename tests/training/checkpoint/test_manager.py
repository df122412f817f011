"""When checkpoints are written, which are kept, and what a full disk does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch

from gnnrec.distributed.world import World
from gnnrec.errors import Stopped, UserError
from gnnrec.training import run as training_run
from gnnrec.training.checkpoint.info import checkpoints, read_info, step_of
from gnnrec.training.checkpoint.read import find_damage
from tests.training.runs import STEPS, STOP, config_of, run
from tests.training.test_resume import assert_same_run, learned


def steps_saved(run_dir: Path) -> list[int]:
    return sorted(step_of(path) for path in checkpoints(run_dir, "step"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"every_steps": 5}, [20, 24]),
        ({"every_steps": 5, "keep": 1}, [24]),
        ({"every_steps": 5, "keep": 9}, [5, 10, 15, 20, 24]),
        ({"every_steps": 12}, [12, 24]),
        ({"every_steps": 0, "every_minutes": 0}, [24]),
        ({"every_steps": 0, "every_minutes": 100}, [24]),
    ],
    ids=str,
)
def test_checkpoints_come_as_often_as_asked_and_the_last_ones_stay(dataset, tmp_path, options, expected):
    run(config_of(dataset, tmp_path, checkpoint=options))
    assert steps_saved(tmp_path) == expected
    assert all(find_damage(path, World()) is None for path in checkpoints(tmp_path, "step"))
    assert len(checkpoints(tmp_path, "best")) == 1 and not list(tmp_path.rglob(".*"))


def test_the_clock_saves_too(dataset, tmp_path):
    run(config_of(dataset, tmp_path, checkpoint={"every_minutes": 1e-9, "keep": 99}))
    # Ranks agree on it a step later, and begin the next when one is written.
    assert len(steps_saved(tmp_path)) > STEPS / 6


def test_the_best_one_stays(dataset, undisturbed):
    """The record of validation says when the loss was lowest; its weights are kept, and no others."""
    validations = {
        record["step"]: record["validation_rmse"] for record in learned(undisturbed) if "validation_rmse" in record
    }
    assert len(validations) == STEPS / 3
    lowest = min(validations, key=validations.get)
    (best,) = checkpoints(undisturbed, "best")
    assert step_of(best) == lowest and read_info(best).validation["rmse"] == validations[lowest]


def test_a_stop_while_a_checkpoint_is_written_waits_for_it(dataset, tmp_path, undisturbed, monkeypatch):
    """The writer is held up at step 4 until the stop has come, and both checkpoints are there in the end."""
    told, save = threading.Event(), torch.save

    def slow(tensors, path):
        if "step-0000000004" in str(path):
            assert told.wait(20)
        save(tensors, path)

    def write_on_later() -> None:
        threading.Timer(0.5, told.set).start()

    monkeypatch.setattr(torch, "save", slow)
    with pytest.raises(Stopped, match="saved at step 8"):
        run(config_of(dataset, tmp_path, checkpoint={"every_steps": 4}), {6: write_on_later, 7: STOP})
    assert steps_saved(tmp_path) == [4, 8] and not list(tmp_path.rglob(".*"))
    run(config_of(dataset, tmp_path))
    assert_same_run(undisturbed, tmp_path)


def test_what_killed_writers_left_is_removed(dataset, tmp_path, undisturbed):
    with pytest.raises(Stopped):
        run(config_of(dataset, tmp_path), {5: STOP})
    saved = checkpoints(tmp_path, "step")[0]
    for name in (".step-0000000009.tmp", ".step-0000000001.old", ".best-0000000003.old-12345678"):
        shutil.copytree(saved, tmp_path / "checkpoints" / name)
    # A half-written one under its final name is none either: its description comes last.
    half = shutil.copytree(saved, tmp_path / "checkpoints" / "step-0000000009")
    (half / "checkpoint.json").unlink()
    (tmp_path / ".stopped.json.tmp-12345678").write_text("{")
    (tmp_path / ".mine").write_text("x")
    run(config_of(dataset, tmp_path))
    assert [path.name for path in tmp_path.rglob(".*")] == [".mine"]
    assert_same_run(undisturbed, tmp_path)


class Disk:
    """A disk that can be full: a small one in memory, or, where this user may not mount one, a limit to files.

    Args:
        directory: Where it is.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        libc = ctypes.CDLL(None, use_errno=True)
        self.mounted = libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, b"size=8m") == 0
        self._unmount = libc.umount
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, self._limits[1]))
            return
        with open(self.directory / "filler", "ab", buffering=0) as file:
            for block in (1 << 16, 1 << 10, 1):
                try:
                    while file.write(bytes(block)) == block:
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        (self.directory / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        self.make_room()
        if self.mounted:
            assert self._unmount(os.fsencode(self.directory)) == 0


@pytest.fixture
def disk(tmp_path, capsys):
    # What is printed goes to memory, so that a limit to files does not meet it.
    disk = Disk(tmp_path)
    yield disk
    disk.close()


def warnings(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]


def test_a_full_disk_costs_a_warning(dataset, disk, undisturbed, capsys):
    """From step 6 to 15 nothing can be saved, neither steps nor the best weights."""
    config = config_of(dataset, disk.directory / "run", checkpoint={"every_steps": 2, "keep": 9})
    meanwhile = []

    def make_room() -> None:
        meanwhile.extend(checkpoints(config.run_dir, "step"))
        assert find_damage(meanwhile[0], World()) is None
        disk.make_room()

    run(config, {7: disk.fill, 15: make_room})
    said = warnings(capsys)
    assert steps_saved(config.run_dir)[-1] == STEPS and step_of(meanwhile[0]) == 6
    assert set(range(8, 15)).isdisjoint(steps_saved(config.run_dir)) and 16 in steps_saved(config.run_dir)
    assert any("step-0000000008: cannot write" in line or "best-" in line for line in said), said
    assert all("training goes on; the newest one is step-0000000006" in line or "records wait" in line for line in said)
    assert_same_run(undisturbed, config.run_dir)


def test_a_disk_that_is_full_in_the_end_costs_nothing(dataset, disk, undisturbed):
    config = config_of(dataset, disk.directory / "run", checkpoint={"every_steps": 2})
    with pytest.raises(UserError, match=r"cannot write .*: make room, and go on with --resume auto$"):
        run(config, {22: disk.fill})
    assert not (config.run_dir / "summary.json").exists()
    before = steps_saved(config.run_dir)[-1]
    # Still full: it says the same again.
    with pytest.raises(UserError, match="cannot write"):
        run(config)
    disk.make_room()
    assert 0 < before < STEPS and before in steps_saved(config.run_dir)
    run(config)
    assert_same_run(undisturbed, config.run_dir)


def test_a_stop_on_a_full_disk_keeps_what_was_saved(dataset, disk, undisturbed):
    config = config_of(dataset, disk.directory / "run", checkpoint={"every_steps": 2})
    with pytest.raises(Stopped, match="saved at step 6"):
        run(config, {7: disk.fill, 11: STOP})
    disk.make_room()
    run(config)
    assert_same_run(undisturbed, config.run_dir)


def test_a_disk_that_is_full_when_the_summary_is_written(dataset, disk, undisturbed, monkeypatch):
    config = config_of(dataset, disk.directory / "run")
    summarise = training_run.summarise

    def fill_and_summarise(*arguments):
        disk.fill()
        return summarise(*arguments)

    monkeypatch.setattr(training_run, "summarise", fill_and_summarise)
    with pytest.raises(UserError, match=r"summary.json: cannot write it .*--resume auto$"):
        run(config)
    disk.make_room()
    monkeypatch.undo()
    run(config)
    assert_same_run(undisturbed, config.run_dir)


def test_a_log_on_a_full_disk_does_not_end_the_run(dataset, tmp_path, undisturbed, monkeypatch):
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, open("/dev/full", "w"))
    run(config_of(dataset, tmp_path / "run"))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.close()
    monkeypatch.undo()
    assert_same_run(undisturbed, tmp_path / "run")
