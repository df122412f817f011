"""Lines of ``metrics.jsonl`` on full disks and after lost ends."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from gnnrec.training.tracking.metrics_file import MetricsFile

LINES = [f'{{"step": {step}}}' for step in range(40)]


@pytest.fixture
def limited(capsys):
    """Limits files to 100 bytes until the test calls it; output goes to memory."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_lines_are_kept_in_memory_until_there_is_room(tmp_path, limited, capsys):
    records = MetricsFile(tmp_path / "file")
    for line in LINES[:30]:
        records.write(line)
    assert records.size == 100 and len(records.waiting) > 200
    limited()
    for line in LINES[30:]:
        records.write(line)
    assert records.waiting == "" and lines(tmp_path / "file") == LINES
    (warning,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in warning and "records are kept in memory" in warning


def test_lines_kept_in_memory_can_be_passed_to_another_process(tmp_path, limited):
    first = MetricsFile(tmp_path / "file")
    for line in LINES[:20]:
        first.write(line)
    size, waiting = first.size, first.waiting
    limited()
    first.write("lost with the process")
    first.close()
    second = MetricsFile(tmp_path / "file", size, waiting)
    for line in LINES[20:]:
        second.write(line)
    assert lines(tmp_path / "file") == LINES


def test_a_file_that_has_lost_its_end_is_not_padded(tmp_path, capsys):
    (tmp_path / "file").write_text("one\ntwo\nth")
    records = MetricsFile(tmp_path / "file", 14)
    records.write("four")
    assert lines(tmp_path / "file") == ["one", "two", "four"]
    assert "has lost its end" in capsys.readouterr().err
