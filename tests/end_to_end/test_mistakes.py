"""What a user can get wrong, in one table: each ends with exit code 2 and one line that says what to do.

Nothing is lost by it: the files that are there stay as they are. The mistakes are made in this process because a new
one takes seconds; ``test_user_errors.py`` has those that need processes of their own.
"""

from __future__ import annotations

import contextlib
import io
import json
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
from gnnrec.cli import exit_on_user_error, run_command
from gnnrec.shortage import shortage
from tests.end_to_end.conftest import Chain

HEADER, GOOD = "userId,movieId,rating,timestamp\n", "1,2,3,1000\n1,3,4,1001\n2,2,5,1002\n2,3,1,1003\n"
#: Files that are wrong, or are not what they are taken for.
FILES: dict[str, str | bytes] = {
    "good.csv": HEADER + GOOD,
    "empty.csv": "",
    "header.csv": HEADER,
    "nan.csv": HEADER + GOOD + "3,2,nan,1004\n",
    "infinite.csv": HEADER + GOOD + "3,2,inf,1004\n",
    "word.csv": HEADER + GOOD + "3,2,good,1004\n",
    "no_rating.csv": HEADER + GOOD + "3,2,,1004\n",
    "no_user.csv": HEADER + GOOD + ",2,3,1004\n",
    "short.csv": HEADER + GOOD + "3,2\n",
    "numbers.csv": GOOD,
    "columns.csv": "who,what,rating\n1,2,3\n",
    "one_user.csv": HEADER + "1,2,3,1000\n1,3,4,1001\n",
    "times.csv": HEADER + GOOD + "3,2,3,yesterday\n",
    "far_times.csv": HEADER + GOOD + "3,2,3,1e30\n",
    "no_times.csv": "userId,movieId,rating\n1,2,3\n2,2,4\n",
    "sheet.xlsx": b"PK\3\4 and more",
    "bytes.csv": bytes(range(256)),
    "cut.parquet": b"PAR1 and no more",
    "cut.csv.gz": b"\x1f\x8b and no more",
    "unknown.yaml": "model:\n  architecure: gcn\n",
    "type.yaml": "model: {dim: wide}\n",
    "broken.yaml": "model: [1,\n",
}

PREPARE = "gnnrec prepare {out} --ratings {files}/"
#: Every run is told to be short, in case that it is not refused.
TRAIN = "train --max-steps 1 --model.dim 8 --wandb.mode disabled --device cpu --run-dir {out} --data "
#: What is done -> what the line says.
WORDS: dict[str, list[str]] = {
    # The command line
    "gnnrec recomend {run}": ["recomend is not a command", "recommend"],
    "gnnrec evaluate": ["run"],
    "gnnrec prepare {out} --ratngs x": ["did you mean ratings?"],
    "gnnrec synth {out} --user 3": ["did you mean users?"],
    "gnnrec export {run} --out {out} --part-row 5": ["part_rows"],
    "gnnrec recommend {run} --usr 3": ["did you mean user?"],
    "gnnrec evaluate {run} --chekpoint last": ["did you mean checkpoint?"],
    "gnnrec tune {data} --out {out} --trails 3": ["did you mean trials?"],
    "gnnrec compare {data} --out {out} --seds 3": ["did you mean seeds?"],
    "train --data {data}": ["run_dir"],
    TRAIN + "{data} --epochz 3": ["optimizer.epochs"],
    TRAIN + "{data} --model.layer 3": ["model.layers"],
    TRAIN + "{data} --model.dim wide": ["model.dim", "wide"],
    TRAIN + "{data} --model.architecture gnc": ["model.architecture", "gnc", "gcn"],
    TRAIN + "{data} --optimizer.lr 0": ["--optimizer.lr", "above 0"],
    TRAIN + "{data} --optimizer.lr nan": ["optimizer.lr", "nan"],
    TRAIN + "{data} --loader.folds 1": ["--loader.folds 1", "2 to 256"],
    TRAIN + "{data} --refit maybe": ["refit", "maybe"],
    TRAIN + "{data} --seed 0.5": ["seed", "0.5"],
    TRAIN + "{data} --overwrite --resume auto": ["--overwrite", "--resume auto", "give one of them"],
    TRAIN + "{data} --config {files}/nothing.yaml": ["nothing.yaml", "config"],
    TRAIN + "{data} --config {files}": ["config", "file"],
    TRAIN + "{data} --config {files}/broken.yaml": ["config"],
    TRAIN + "{data} --config {files}/unknown.yaml": ["architecure", "model.architecture"],
    TRAIN + "{data} --config {files}/type.yaml": ["model.dim", "wide"],
    # Ratings
    PREPARE + "empty_place": ["{files}/empty_place", "ratings.csv", "--ratings"],
    PREPARE + "nothing.csv": ["nothing.csv does not exist", "--ratings"],
    PREPARE + "empty.csv": ["empty.csv is empty"],
    PREPARE + "header.csv": ["header.csv has no ratings"],
    PREPARE + "nan.csv": ["nan.csv line 6: the rating is missing or NaN", "correct or remove"],
    PREPARE + "infinite.csv": ["infinite.csv line 6", "not finite"],
    PREPARE + "word.csv": ["word.csv line 6", "'good' is not a number"],
    PREPARE + "no_rating.csv": ["no_rating.csv line 6", "missing"],
    PREPARE + "no_user.csv": ["no_user.csv line 6: the user id is missing"],
    PREPARE + "short.csv": ["short.csv line 6", "2 fields, not 4"],
    PREPARE + "numbers.csv": ["numbers.csv line 1", "only numbers", "names of the columns"],
    PREPARE + "columns.csv": ["columns.csv line 1: there is no user column among who, what", "--user_column"],
    PREPARE + "good.csv --user-column who": ["no column 'who'", "--user_column"],
    PREPARE + "one_user.csv": ["one_user.csv", "one user only"],
    PREPARE + "times.csv": ["times.csv line 6", "'yesterday'"],
    PREPARE + "far_times.csv": ["far_times.csv line 6", "'1e30'"],
    PREPARE + "no_times.csv --protocol temporal": ["--protocol temporal", "--timestamp_column"],
    PREPARE + "sheet.xlsx": ["sheet.xlsx is no text", "spreadsheet", "CSV or Parquet"],
    PREPARE + "bytes.csv": ["bytes.csv is no text", "binary"],
    PREPARE + "cut.parquet": ["cut.parquet cannot be read"],
    PREPARE + "cut.csv.gz": ["cut.csv.gz cannot be read"],
    PREPARE + "good.csv --movies {files}/nothing.csv": ["nothing.csv does not exist"],
    PREPARE + "good.csv --shards 0": ["--shards 0", "at least 1"],
    PREPARE + "good.csv --test 1.5": ["--test 1.5", "from 0 to below 1"],
    PREPARE + "good.csv --test 0.6 --validation 0.4": ["--test 0.6", "--validation 0.4", "nothing to train on"],
    PREPARE + "good.csv --rating-scale 1_4": ["--rating_scale '1_4'", "two numbers"],
    PREPARE + "good.csv --protocol strng": ["protocol", "strng", "strong"],
    PREPARE + "good.csv --protocol strong --relevant 9": ["--relevant 9", "not on the rating scale"],
    "gnnrec prepare {out}": ["--dataset NAME or --ratings FILE"],
    "gnnrec prepare {out} --dataset ml-21m": ["--dataset ml-21m is unknown", "ml-20m"],
    "gnnrec synth {out} --users 0": ["--users 0"],
    "gnnrec synth {out} --users 50 --movies 5 --ratings 100": ["--movies 5", "raise --movies"],
    # Places
    "gnnrec prepare {data} --ratings {files}/good.csv": ["{data} exists already", "--overwrite"],
    "gnnrec prepare {thesis} --ratings {files}/good.csv --overwrite": ["{thesis} holds something else"],
    "gnnrec prepare {files}/good.csv --ratings {files}/good.csv --overwrite": ["good.csv is a file"],
    "gnnrec prepare {files}/good.csv/out --ratings {files}/good.csv": ["cannot write there"],
    "gnnrec prepare /proc/out --ratings {files}/good.csv": ["/proc/out: cannot write there"],
    "gnnrec synth {thesis} --users 50 --movies 50 --ratings 1100 --overwrite": ["{thesis} holds something else"],
    TRAIN + "{data} --run-dir {run}": ["{run} holds a run already", "--resume auto", "--overwrite"],
    TRAIN + "{data} --run-dir {thesis}": ["{thesis} holds something else"],
    TRAIN + "{data} --run-dir {thesis} --overwrite": ["{thesis} is not a run directory"],
    TRAIN + "{data} --run-dir {files}/good.csv/run": ["--run-dir", "cannot write there"],
    TRAIN + "{data} --run-dir /proc/run": ["--run-dir /proc/run: cannot write there"],
    "gnnrec export {run} --out {export} --dtype float16": ["{export} holds an export", "--overwrite"],
    "gnnrec export {run} --out {thesis} --overwrite": ["{thesis} holds something else"],
    "gnnrec export {run} --out {run}": ["{run} holds something else"],
    "gnnrec export {run} --out /proc/out": ["/proc/out: cannot write there"],
    "gnnrec tune {data} --out {thesis} --trials 1": ["{thesis} holds something else than a study"],
    "gnnrec tune {data} --out /proc/out --trials 1": ["--out /proc/out: cannot write there"],
    "gnnrec compare {data} --out {thesis}": ["{thesis} holds something else than a comparison"],
    "gnnrec compare {data} --out /proc/out": ["--out /proc/out: cannot write there"],
    # The wrong order, or the wrong thing
    TRAIN + "{files}/nothing": ["{files}/nothing is not a prepared dataset", "gnnrec prepare"],
    TRAIN + "{files}/good.csv": ["good.csv is not a prepared dataset", "gnnrec prepare"],
    TRAIN + "{ratings}": ["{ratings} is not a prepared dataset", "gnnrec prepare"],
    TRAIN + "{data} --resume step-0000000009": ["--resume step-0000000009", "no checkpoint"],
    "gnnrec evaluate {files}/nothing": ["{files}/nothing is not a run directory"],
    "gnnrec evaluate {data}": ["{data} is not a run directory"],
    "gnnrec evaluate {unfinished}": ["{unfinished} has no checkpoint (best)", "train first"],
    "gnnrec export {unfinished} --out {out}": ["{unfinished} has no checkpoint (best)", "train first"],
    "gnnrec export {empty} --out {out}": ["{empty} is not a run directory"],
    "gnnrec recommend {unfinished} --user 1": ["{unfinished} has no checkpoint (best)", "train first"],
    "gnnrec recommend {empty} --user 1": ["{empty} is not a run directory"],
    "gnnrec evaluate {run} --data {other}": ["{other} is not the dataset", "--data"],
    TRAIN + "{other} --run-dir {half} --resume auto": ["{other} is not the dataset", "--data"],
    TRAIN + "{data} --run-dir {half} --resume auto --optimizer.lr 0.5": ["--optimizer.lr 0.5", "leave it as it was"],
    "gnnrec export {run} --out {out} --formats csv": ["--formats csv", "parquet, npy, faiss"],
    "gnnrec export {run} --out {out} --chunk 0": ["--chunk"],
    "gnnrec export {run} --out {out} --ratings {files}/nan.csv": ["nan.csv line 6", "NaN"],
    "gnnrec export {half} --out {out} --wandb": ["--wandb", "--wandb.mode disabled"],
    "gnnrec recommend {run} --user nobody": ["--user nobody", "ids look like"],
    "gnnrec recommend {run}": ["--user ID", "--all"],
    "gnnrec recommend {run} --user 1 --top 0": ["--top 0", "at least 1"],
    "gnnrec recommend {run} --all": ["--all needs --out"],
    "gnnrec recommend {data} --user 1": ["{data}", "run directory or an export"],
    "gnnrec export --verify {files}/nothing": ["{files}/nothing", "gnnrec export"],
    "gnnrec tune {data} --out {out} --trials 0": ["--trials 0", "at least 1"],
    "gnnrec tune {data} --out {out} --set model.dim": ["--set model.dim", "OPTION=VALUE"],
    "gnnrec compare {data} --out {out} --models gnn2": ["gnn2 is not a model", "did you mean gnn?"],
    # The machine
    TRAIN + "{data} --device cuda": ["--device cuda: torch sees no CUDA device", "--device cpu"],
    "gnnrec evaluate {run} --device cuda": ["--device cuda: torch sees no CUDA device", "--device cpu"],
    TRAIN + "{data} --wandb.mode online": ["--wandb.mode online", "wandb login", "offline"],
    TRAIN + "{data} --optimizer.lr 1e30 --max-steps 20": ["training diverged", "--optimizer.lr"],
}


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
    "another model": (lambda run: widened(run / "config.yaml"), ["does not fit the model of config.yaml"]),
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


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "/data/x"), "/data/x: No space left on device: make room"),
        (PermissionError(13, "Permission denied", "/data/x"), "/data/x: Permission denied"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nmore"), "20 GiB.): use more ranks"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), "--model.dim"),
        (MemoryError(), "out of memory: use a machine with more"),
    ],
)
def test_whatever_runs_out_is_named(capfd, error: Exception, says: str):
    def fail() -> None:
        raise error

    assert says in refusal(capfd, fail)


def test_other_errors_are_bugs_and_keep_their_traceback():
    assert shortage(RuntimeError("a bug")) is None and shortage(FileNotFoundError(2, "no such file")) is None
    with pytest.raises(ZeroDivisionError), exit_on_user_error("gnnrec"):
        raise ZeroDivisionError
