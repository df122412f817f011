"""Mistakes of users, in one table: each ends with exit code 2 and one line that says what to do.

Nothing is lost by it: the files that are there stay as they are. The mistakes are made in this process because a new
one takes seconds; ``test_user_errors.py`` has those that need processes of their own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import train_dist
from gnnrec.cli.main import run_command
from gnnrec.distributed.exit import exit_on_user_error
from gnnrec.utils.resource_errors import describe_resource_error
from tests.end_to_end.conftest import Chain
from tests.end_to_end.mistakes import FILES, PREPARE, TRAIN, WORDS


def refusal(capfd: pytest.CaptureFixture, function: Callable, *arguments: object) -> str:
    """The one line on standard error."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as end, exit_on_user_error("gnnrec"):
        function(*arguments)
    lines = capfd.readouterr().err.splitlines()
    assert end.value.code == 2 and len(lines) == 1, lines
    assert lines[0].startswith("gnnrec: error: ")
    return lines[0]


def do(words: list[str]) -> None:
    """``train`` or ``gnnrec`` with its arguments, in this process."""
    program, *arguments = words
    (train_dist.main if program == "train" else run_command)(arguments)


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch):
    """Programs take signals and threads for themselves; none has logged in to W&B; CUDA is not there."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    threads = torch.get_num_threads()
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "/nowhere")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    torch.set_num_threads(threads)
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def places(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Names in the table -> what they are."""
    here = tmp_path_factory.mktemp("mistakes")
    names = ("files", "thesis", "unfinished", "empty", "other", "half")
    files, thesis, unfinished, empty, other, half = paths = [here / name for name in names]
    for directory in (files, files / "empty_place", thesis, unfinished, empty):
        directory.mkdir()
    for name, content in FILES.items():
        (files / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (thesis / "thesis.txt").write_text("years of work")
    shutil.copy(chain.run / "config.yaml", unfinished / "config.yaml")
    run_command(["prepare", str(other), "--ratings", str(chain.directory / "ratings"), "--seed", "5"])
    train_dist.main(words_of(TRAIN + "{data} --run-dir {half} --baselines false", data=chain.data, half=half)[1:])
    (half / "summary.json").unlink()
    of_chain = {"data": chain.data, "run": chain.run, "export": chain.export, "ratings": chain.directory / "ratings"}
    return dict(zip(names, paths)) | of_chain


def words_of(line: str, **places: Path) -> list[str]:
    return [word.format_map({"out": "unused"} | places) for word in line.split()]


def snapshot(directory: Path) -> dict[Path, tuple[int, int]]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize("line", WORDS)
def test_a_mistake_is_one_line_and_changes_nothing(capfd, places, tmp_path: Path, line: str):
    before = [snapshot(directory) for directory in places.values()]
    said = refusal(capfd, do, words_of(line, **places, out=tmp_path / "out"))
    for part in WORDS[line]:
        assert part.format_map(places) in said, said
    assert [snapshot(directory) for directory in places.values()] == before
    assert not list(tmp_path.rglob(".*")), "nothing half done is left"


def edited(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


#: A damage to a copy of the prepared dataset, and what the line says.
DAMAGED_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda data: (data / "manifest.json").unlink(), "not a prepared dataset"),
    "half a manifest": (lambda data: (data / "manifest.json").write_text('{"format"'), "manifest.json is damaged"),
    "newer format": (lambda data: edited(data / "manifest.json", format_version=9), "format version 9"),
    "no counts": (lambda data: edited(data / "manifest.json", counts={}), "no users"),
    "no split": (lambda data: edited(data / "manifest.json", split={}), "no protocol"),
    "wrong shards": (lambda data: edited(data / "manifest.json", shards=[0, 3]), "shards do not rise"),
    "no array": (lambda data: (data / "movie.npy").unlink(), "movie.npy is missing"),
    "half an array": (lambda data: (data / "movie.npy").write_bytes(b"\x93NUMPY"), "movie.npy has 6 bytes"),
    "zeros for an array": (lambda data: zeros(data / "movie.npy"), "movie.npy is damaged"),
}


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", DAMAGED_DATA)
def test_damaged_data(capfd, chain: Chain, tmp_path: Path, damage: str):
    data = shutil.copytree(chain.data, tmp_path / "data")
    make, says = DAMAGED_DATA[damage]
    make(data)
    said = refusal(capfd, do, words_of(TRAIN + str(data), out=tmp_path / "run"))
    assert says in said and str(data) in said and "gnnrec prepare" in said


def best(run: Path) -> Path:
    return next((run / "checkpoints").glob("best-*"))


#: A damage to a copy of a finished run, and what the line of ``gnnrec evaluate`` says.
DAMAGED_RUNS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no checkpoint": (lambda run: shutil.rmtree(run / "checkpoints"), ["has no checkpoint", "train first"]),
    "no weights": (lambda run: (best(run) / "model.pt").unlink(), ["model.pt is missing", "another checkpoint"]),
    "other weights": (lambda run: zeros(best(run) / "model.pt"), ["model.pt does not match its checksum"]),
    "half a description": (lambda run: (best(run) / "checkpoint.json").write_text("{"), ["checkpoint.json is damaged"]),
    "another model": (
        lambda run: widened(run / "config.yaml"),
        ["config.yaml has model.dim: 16", "was trained with 8: restore it"],
    ),
}


def widened(config: Path) -> None:
    config.write_text(config.read_text().replace("dim: 8", "dim: 16", 1))


@pytest.mark.parametrize("damage", DAMAGED_RUNS)
def test_damaged_runs(capfd, chain: Chain, tmp_path: Path, damage: str):
    run = shutil.copytree(chain.run, tmp_path / "run")
    make, says = DAMAGED_RUNS[damage]
    make(run)
    said = refusal(capfd, run_command, ["evaluate", str(run), "--device", "cpu"])
    assert str(run) in said and all(part in said for part in says), said


def test_a_damaged_summary_does_not_stop_a_run_without_a_word(capfd, chain: Chain, tmp_path: Path):
    run = shutil.copytree(chain.run, tmp_path / "run")
    (run / "summary.json").write_text("{")
    said = refusal(capfd, do, words_of(TRAIN + f"{chain.data} --run-dir {run} --resume auto"))
    assert f"{run / 'summary.json'} is damaged" in said and "remove it" in said


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two: must be a number"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK is not set: start the ranks with torchrun"),
        ({"LOCAL_RANK": "first"}, "LOCAL_RANK=first: must be a number"),
        (
            {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "{port}"},
            "port {port} is in use",
        ),
    ],
)
def test_ranks_that_cannot_meet(capfd, chain: Chain, monkeypatch, variables: dict[str, str], says: str):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(port=port))
        said = refusal(capfd, run_command, ["evaluate", str(chain.run), "--device", "cpu"])
    assert says.format(port=port) in said and "torchrun" in said


@pytest.mark.parametrize(
    ("package", "line", "says"),
    [
        ("wandb", TRAIN + "{data} --wandb.mode offline", "pip install 'gnnrec[wandb]'"),
        ("torch.utils.tensorboard", TRAIN + "{data} --tensorboard", "pip install 'gnnrec[tensorboard]'"),
        ("optuna", "gnnrec tune {data} --out {out} --trials 1 --device cpu", "pip install 'gnnrec[tune]'"),
        ("pymetis", PREPARE + "good.csv --order metis", "pip install gnnrec[metis]"),
        ("faiss", "gnnrec export {run} --out {out} --formats faiss --device cpu", "pip install"),
    ],
)
def test_an_extra_that_is_not_installed(capfd, places, tmp_path, monkeypatch, package: str, line: str, says: str):
    monkeypatch.setitem(sys.modules, package, None)
    assert says in refusal(capfd, do, words_of(line, **places, out=tmp_path / "out"))


@pytest.mark.parametrize(
    ("line", "room", "says"),
    [
        (PREPARE + "good.csv", 100, ["{out}: cannot write there", "make room"]),
        ("gnnrec synth {out} --users 50 --movies 50 --ratings 1200", 100, ["{out}: cannot write there"]),
        ("gnnrec export {run} --out {out} --device cpu", 1000, ["{out}", "make room"]),
        ("gnnrec recommend {run} --all --out {out} --device cpu", 500, ["{out}", "make room"]),
        (
            "gnnrec tune {data} --out {out} --trials 1 --device cpu --set optimizer.epochs=1 --wandb.mode disabled",
            300,
            ["make room"],
        ),
        (TRAIN + "{data}", 300, ["--run-dir {out}: cannot write there"]),
    ],
)
def test_a_disk_without_room(capfd, places, tmp_path: Path, line: str, room: int, says: list[str]):
    """Files that may not grow stand for a disk that is full."""
    words, problem = words_of(line, **places, out=tmp_path / "out"), io.StringIO()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What pytest catches goes to files, too.
    with contextlib.redirect_stderr(problem), contextlib.redirect_stdout(io.StringIO()):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(SystemExit) as end, exit_on_user_error("gnnrec"):
                do(words)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (said,) = problem.getvalue().splitlines()
    assert end.value.code == 2
    assert all(part.format(out=tmp_path / "out") in said for part in says), said


def _raised_while(cause: Exception, error: Exception) -> Exception:
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "/data/x"), "/data/x: No space left on device: make room"),
        (PermissionError(13, "Permission denied", "/data/x"), "/data/x: Permission denied"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nmore"), "20 GiB.): use more ranks"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), "--model.dim"),
        (MemoryError(), "out of memory: use a machine with more"),
        (
            OSError(12, "Cannot allocate memory", "/lib/x"),
            "out of memory ([Errno 12] Cannot allocate memory: '/lib/x')",
        ),
        (ImportError("libx.so: cannot map zero-fill pages"), "out of memory (libx.so: cannot map zero-fill pages)"),
        (RuntimeError("can't start new thread"), "OMP_NUM_THREADS=1"),
        (RuntimeError("std::bad_alloc"), "out of memory (std::bad_alloc): use a machine with more"),
        (_raised_while(MemoryError(), SystemError("returned NULL")), "out of memory (returned NULL)"),
    ],
)
def test_whatever_runs_out_is_named(capfd, monkeypatch, error: Exception, says: str):
    monkeypatch.setattr(os, "_exit", sys.exit)  # without memory, exit handlers of libraries are left out

    def fail() -> None:
        raise error

    assert says in refusal(capfd, fail)


def test_a_limit_of_memory_that_libraries_do_not_fit_into(capfd, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (10**8, resource.RLIM_INFINITY))
    assert "only 100 MB of memory (ulimit -d)" in refusal(capfd, lambda: None)


def test_other_errors_are_bugs_and_keep_their_traceback():
    assert (
        describe_resource_error(RuntimeError("a bug")) is None
        and describe_resource_error(FileNotFoundError(2, "no such file")) is None
        and describe_resource_error(BlockingIOError(11, "Resource temporarily unavailable")) is None
    )
    with pytest.raises(ZeroDivisionError), exit_on_user_error("gnnrec"):
        raise ZeroDivisionError
