"""The logger of the library: programs print it, and a notebook can silence it."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from gnnrec.distributed.world import World
from gnnrec.utils.log import ConsoleHandler, log_to_console, logger, printable
from tests.datasets import ratings_table

ROOT = Path(__file__).parents[2]


def test_progress_goes_to_the_output_and_warnings_to_the_error_stream(capsys):
    log_to_console()
    logger.info("100 %s done")  # messages are plain
    logger.warning("careful")
    streams = capsys.readouterr()
    assert (streams.out, streams.err) == ("100 %s done\n", "warning: careful\n")


def test_installing_it_again_prints_once(capsys):
    log_to_console()
    log_to_console()
    logger.info("once")
    assert capsys.readouterr().out == "once\n"
    assert sum(isinstance(handler, ConsoleHandler) for handler in logger.handlers) == 1


def test_rank_0_alone_logs(capsys):
    for rank in (0, 1):
        World(rank=rank, size=2).log(f"from {rank}")
        World(rank=rank, size=2).warn(f"warned by {rank}")
    streams = capsys.readouterr()
    assert (streams.out, streams.err) == ("from 0\n", "warning: warned by 0\n")


def test_text_of_users_is_one_harmless_line():
    title = "Alien\x1b[31m\a\r\n\u2028\u202e (1979) é 映画\t\u200d\udc80"
    assert printable(title) == "Alien\\x1b[31m\\x07\\r\\n\\u2028\\u202e (1979) é 映画\t\u200d\\udc80"


def test_what_is_printed_keeps_its_lines(capsys):
    log_to_console()
    logger.info("one\ntwo \x1b[2J")
    assert capsys.readouterr().out == "one\ntwo \\x1b[2J\n"


class Failing:
    def __init__(self, error: OSError):
        self.error = error

    def write(self, text: str) -> None:
        raise self.error

    def flush(self) -> None:
        pass


def test_a_full_disk_ends_no_work_but_a_closed_pipe_does(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Failing(OSError(28, "No space left on device")))
    logger.info("lost")
    monkeypatch.setattr(sys, "stdout", Failing(BrokenPipeError()))
    with pytest.raises(BrokenPipeError):
        logger.info("refused")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setup", "shows"),
    [
        ("pass", True),
        ("logging.getLogger('gnnrec').setLevel('ERROR')", False),
        ("logging.getLogger('gnnrec').setLevel('INFO')", True),
        ("logging.getLogger('gnnrec').addHandler(logging.NullHandler())", False),
        ("logging.basicConfig()", True),
    ],
)
def test_the_python_interface_shows_progress_unless_its_user_has_decided(tmp_path: Path, setup: str, shows: bool):
    ratings_table(20, 15, 120).to_parquet(tmp_path / "ratings.parquet")
    code = (
        f"import logging, gnnrec; {setup}; "
        f"data = gnnrec.prepare({str(tmp_path / 'data')!r}, {str(tmp_path / 'ratings.parquet')!r}); "
        "logging.getLogger('gnnrec').setLevel('ERROR'); "
        f"gnnrec.prepare({str(tmp_path / 'again')!r}, {str(tmp_path / 'ratings.parquet')!r})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stderr == ""
    assert ("120 ratings" in result.stdout) == shows
    assert str(tmp_path / "again") not in result.stdout, "a level that is set later silences it too"


def test_library_code_prints_nothing_but_results():
    """Modules that print: the results of commands, and the last lines of programs."""
    printing = {
        path.relative_to(ROOT / "gnnrec").as_posix()
        for path in (ROOT / "gnnrec").rglob("*.py")
        if any(line.lstrip().startswith("print(") for line in path.read_text(encoding="utf-8").splitlines())
    }
    assert printing == {
        "cli/main.py", "data/synth.py", "distributed/exit.py", "inference/export_verify.py",
        "tools/comparison/compare.py", "tools/tuning/tune.py", "utils/log.py",
    }  # fmt: skip


def test_the_logger_has_the_name_of_the_package():
    assert logger is logging.getLogger("gnnrec")
