"""Times of checkpoints, the number kept, and full disks."""

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


@pytest.mark.slow
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
def test_checkpoints_are_written_at_the_interval_and_the_latest_are_kept(dataset, tmp_path, options, expected):
    run(config_of(dataset, tmp_path, checkpoint=options))
    assert steps_saved(tmp_path) == expected
    assert all(find_damage(path, World()) is None for path in checkpoints(tmp_path, "step"))
    assert len(checkpoints(tmp_path, "best")) == 1 and not list(tmp_path.rglob(".*"))


@pytest.mark.slow
def test_checkpoints_are_written_by_the_clock(dataset, tmp_path):
    run(config_of(dataset, tmp_path, checkpoint={"every_minutes": 1e-9, "keep": 99}))
    # Ranks agree on a checkpoint one step later, and start the next one when it is written.
    assert len(steps_saved(tmp_path)) > STEPS / 6


def test_only_the_best_weights_are_kept(dataset, uninterrupted):
    """The weights of the step with the lowest recorded validation RMSE are the only ones kept."""
    validations = {
        record["step"]: record["validation_rmse_without_time"]
        for record in learned(uninterrupted)
        if "validation_rmse" in record
    }
    assert len(validations) == STEPS / 3
    lowest = min(validations, key=validations.get)
    (best,) = checkpoints(uninterrupted, "best")
    assert step_of(best) == lowest and read_info(best).validation["rmse_without_time"] == validations[lowest]


@pytest.mark.slow
def test_a_stop_waits_for_the_checkpoint_being_written(dataset, tmp_path, uninterrupted, monkeypatch):
    """The writer blocks at step 4 until the stop request; both checkpoints are saved in the end."""
    released, save = threading.Event(), torch.save

    def slow(tensors, path):
        if "step-0000000004" in str(path):
            assert released.wait(20)
        save(tensors, path)

    def write_on_later() -> None:
        threading.Timer(0.5, released.set).start()

    monkeypatch.setattr(torch, "save", slow)
    with pytest.raises(Stopped, match="saved at step 8"):
        run(config_of(dataset, tmp_path, checkpoint={"every_steps": 4}), {6: write_on_later, 7: STOP})
    assert steps_saved(tmp_path) == [4, 8] and not list(tmp_path.rglob(".*"))
    run(config_of(dataset, tmp_path))
    assert_same_run(uninterrupted, tmp_path)


@pytest.mark.slow
def test_files_of_killed_writers_are_removed(dataset, tmp_path, uninterrupted):
    with pytest.raises(Stopped):
        run(config_of(dataset, tmp_path), {5: STOP})
    saved = checkpoints(tmp_path, "step")[0]
    for name in (".step-0000000009.tmp", ".step-0000000001.old", ".best-0000000003.old-12345678"):
        shutil.copytree(saved, tmp_path / "checkpoints" / name)
    # A directory with the final name but without a description is not a checkpoint either.
    half = shutil.copytree(saved, tmp_path / "checkpoints" / "step-0000000009")
    (half / "checkpoint.json").unlink()
    (tmp_path / ".stopped.json.tmp-12345678").write_text("{")
    (tmp_path / ".mine").write_text("x")
    run(config_of(dataset, tmp_path))
    assert [path.name for path in tmp_path.rglob(".*")] == [".mine"]
    assert_same_run(uninterrupted, tmp_path)


class Disk:
    """A disk that can be filled: a small tmpfs or, if this user may not mount one, a limit on file sizes.

    Args:
        directory: Mount point.
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
    # Output goes to memory (capsys), so that the limit on file sizes does not apply to it.
    disk = Disk(tmp_path)
    yield disk
    disk.close()


def warnings(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]


def test_training_continues_on_a_full_disk_with_a_warning(dataset, disk, uninterrupted, capsys):
    """From step 7 to 15 nothing can be saved, neither steps nor the best weights.

    The checkpoint of step 6 may still be in the making when the disk is full; then that of step 4 is the latest.
    """
    config = config_of(dataset, disk.directory / "run", checkpoint={"every_steps": 2, "keep": 9})
    saved_meanwhile = []

    def make_room() -> None:
        saved_meanwhile.extend(checkpoints(config.run_dir, "step"))
        assert find_damage(saved_meanwhile[0], World()) is None
        disk.make_room()

    run(config, {7: disk.fill, 15: make_room})
    lines = warnings(capsys)
    latest = step_of(saved_meanwhile[0])
    assert steps_saved(config.run_dir)[-1] == STEPS and latest in (4, 6)
    assert set(range(8, 13)).isdisjoint(steps_saved(config.run_dir)) and 16 in steps_saved(config.run_dir)
    assert any("step-0000000008: cannot write" in line or "best-" in line for line in lines), lines
    expected = (f"training continues; the latest checkpoint is step-{latest:010d}", "records are kept in memory")
    assert all(any(words in line for words in expected) for line in lines), lines
    assert_same_run(uninterrupted, config.run_dir)


@pytest.mark.slow
def test_a_run_whose_final_state_met_a_full_disk_can_be_resumed(dataset, disk, uninterrupted):
    config = config_of(dataset, disk.directory / "run", checkpoint={"every_steps": 2})
    with pytest.raises(UserError, match=r"cannot write .*: make room, then resume with --resume auto$"):
        run(config, {22: disk.fill})
    assert not (config.run_dir / "summary.json").exists()
    before = steps_saved(config.run_dir)[-1]
    # The disk is still full: the same error again.
    with pytest.raises(UserError, match="cannot write"):
        run(config)
    disk.make_room()
    assert 0 < before < STEPS and before in steps_saved(config.run_dir)
    run(config)
    assert_same_run(uninterrupted, config.run_dir)


@pytest.mark.slow
def test_a_stop_on_a_full_disk_keeps_earlier_checkpoints(dataset, disk, uninterrupted):
    config = config_of(dataset, disk.directory / "run", checkpoint={"every_steps": 2})
    with pytest.raises(Stopped, match="saved at step [46]"):
        run(config, {7: disk.fill, 11: STOP})
    disk.make_room()
    run(config)
    assert_same_run(uninterrupted, config.run_dir)


def test_a_run_whose_summary_met_a_full_disk_can_be_resumed(dataset, disk, uninterrupted, monkeypatch):
    config = config_of(dataset, disk.directory / "run")
    summarize = training_run.summarize

    def fill_and_summarize(*arguments):
        disk.fill()
        return summarize(*arguments)

    monkeypatch.setattr(training_run, "summarize", fill_and_summarize)
    with pytest.raises(UserError, match=r"summary.json: cannot write it .*--resume auto$"):
        run(config)
    disk.make_room()
    monkeypatch.undo()
    run(config)
    assert_same_run(uninterrupted, config.run_dir)


def test_output_to_a_full_disk_does_not_end_the_run(dataset, tmp_path, uninterrupted, monkeypatch):
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, open("/dev/full", "w"))
    run(config_of(dataset, tmp_path / "run"))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.close()
    monkeypatch.undo()
    assert_same_run(uninterrupted, tmp_path / "run")
