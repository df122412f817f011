"""Real programs that are told to stop or are killed, and then go on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
import yaml

from gnnrec.config.train_config import parse_train_config
from gnnrec.distributed import process_group
from gnnrec.distributed.world import World
from gnnrec.training.checkpoint.info import checkpoints, step_of
from gnnrec.training.run import train
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.end_to_end.commands import ROOT
from tests.end_to_end.processes import forked, started, steps_taken
from tests.end_to_end.wandb_file import offline_runs, wandb_records
from tests.training.test_resume import assert_same_run, learned

# One after another, in one process of pytest-xdist, which makes the data once.
pytestmark = [pytest.mark.xdist_group("interruptions"), pytest.mark.slow, pytest.mark.timing]
STEPS, RANKS = 120, 2


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Data, and a configuration with many short steps."""
    directory = tmp_path_factory.mktemp("interruptions")
    write_dataset(directory, users=120, movies=60, ratings=3000, validation=0.1, test=0.1, shards=8)
    loader = {"folds": 3, "seed_users": 30, "movies_per_user": 5, "raters_per_movie": 5}
    options = {"model": {"dim": 8}, "loader": loader, "optimizer": {"epochs": STEPS // 12, "warmup_steps": 2}}
    options |= {"validate_every": 5, "log_every": 1, "checkpoint": {"every_steps": 15}, "baselines": False}
    (directory / "config.yaml").write_text(yaml.safe_dump(options))
    return directory


def training(place: Path, run: Path, *more: str) -> list:
    wandb = [] if "--wandb.mode" in more else ["--wandb.mode", "disabled"]
    options = ["--config", place / "config.yaml", "--data", place / "prepared", "--run-dir", run, "--device", "cpu"]
    return [*options, *wandb, "--resume", "auto", *more]


def torchrun(*program: object, restarts: int = 0, options: tuple = ("--standalone",)) -> list:
    launcher = [sys.executable, "-m", "torch.distributed.run", *options, "--max-restarts", restarts]
    return [*launcher, *([] if "--nnodes" in options else ["--nproc-per-node", RANKS]), *program]


@pytest.fixture(scope="module")
def undisturbed(place) -> Path:
    run = place / "undisturbed"
    run_on_ranks(RANKS, train_on_rank, [str(word) for word in training(place, run)])
    return run


def train_on_rank(world: World, arguments: list[str]) -> None:
    os.environ["LOCAL_WORLD_SIZE"] = str(RANKS)
    process_group.share_cores()
    train(parse_train_config(arguments), world)


def test_killed_ranks_and_a_stopped_torchrun(place, undisturbed, tmp_path):
    """kill -9 of a rank: torchrun starts the ranks again. SIGTERM to torchrun: they save, and the command goes on."""
    run, note = tmp_path / "run", tmp_path / "stopped"
    command = torchrun(ROOT / "train_dist.py", *training(place, run), restarts=1)
    with started(command, tmp_path / "first.txt", GNNREC_STOPPED_FILE=str(note)) as program:
        program.wait_until(lambda: steps_taken(run) >= 50)
        program.ranks()[1].kill()
        program.wait_until(lambda: "resumed at step" in program.output)
        resumed = int(program.output.split("resumed at step ")[1].split()[0])
        assert 45 <= resumed <= steps_taken(run) or steps_taken(run) == 0
        program.wait_until(lambda: steps_taken(run) >= 85)
        assert not note.exists()
        program.process.send_signal(signal.SIGTERM)
        assert program.end() != 0
    saved = step_of(checkpoints(run, "step")[0])
    line = (
        f"train_dist.py: stopped by SIGTERM, saved at step {saved}: run the same command with --resume auto to resume"
    )
    assert line in program.output.splitlines() and note.read_text() == line + "\n"
    assert saved == steps_taken(run) and (run / "stopped.json").exists() and not (run / "summary.json").exists()
    with started(command, tmp_path / "again.txt") as program:
        assert program.end() == 0, program.output
    assert f"resumed at step {saved} of {run}" in program.output.splitlines()
    assert_same_run(undisturbed, run)
    assert not list(run.rglob(".*"))


def elastic(port: int) -> tuple:
    """Options of an agent with one rank, of which there may be two."""
    waits = "join_timeout=60,last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=6"
    options = ("--nnodes", "1:2", "--nproc-per-node", 1, "--rdzv-backend", "c10d", "--rdzv-conf", waits)
    return *options, "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "elastic", "--local-addr", "127.0.0.1"


@pytest.fixture
def port() -> int:
    """A port that is free."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_an_agent_that_comes_later_takes_part(place, port, tmp_path):
    """The agent that is there tells its rank to stop, and starts it again; only a stop from outside ends the job."""
    run, launcher = tmp_path / "run", [sys.executable, ROOT / "launch" / "stoppable_torchrun.py", *elastic(port)]
    command = [*launcher, ROOT / "train_dist.py", *training(place, run, "--optimizer.epochs", "1000")]
    own_store = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # as launch/torchrun.sh has it
    with started(command, tmp_path / "first.txt", **own_store) as first:
        first.wait_until(lambda: steps_taken(run) >= 20)
        with started(command, tmp_path / "second.txt", **own_store) as second:
            first.wait_until(lambda: "resumed at step" in first.output + second.output)
            resumed = steps_taken(run)
            first.wait_until(lambda: steps_taken(run) >= resumed + 20)
            assert len(first.ranks() + second.ranks()) == 2
            first.process.send_signal(signal.SIGTERM)
            assert (first.end(), second.end()) == (75, 75), first.output + second.output
    assert (first.output + second.output).count("by SIGTERM, saved at step") == 2, first.output + second.output


def test_agents_that_are_lost_are_done_without(place, undisturbed, port, tmp_path):
    """Two agents of one rank each; one is killed with its rank, and the other goes on from the last checkpoint."""
    run = tmp_path / "run"
    command = torchrun(ROOT / "train_dist.py", *training(place, run), restarts=3, options=elastic(port))
    with started(command, tmp_path / "first.txt") as first:
        first.wait_until(lambda: _answers(port))
        with started(command, tmp_path / "second.txt") as second:
            second.wait_until(lambda: steps_taken(run) >= 66)
            second.kill()
        assert first.end() == 0, first.output
    summary, expected = (json.loads((each / "summary.json").read_text()) for each in (run, undisturbed))
    assert summary["world_size"] == 1 and expected["world_size"] == RANKS
    # Rank 0, which speaks, may have been with either of them.
    said = first.output + second.output
    resumed = [int(text.split()[0]) for text in said.split("resumed at step ")[1:]]
    assert resumed and 45 <= max(resumed) < STEPS
    for name in ("test_rmse", "validation_rmse"):
        assert summary[name] == pytest.approx(expected[name], rel=1e-3)
    losses = [[record["loss"] for record in learned(each) if "loss" in record] for each in (run, undisturbed)]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_time_limit_ends_with_the_code_to_requeue(place, tmp_path):
    command = ["train_dist.py", *training(place, tmp_path / "run", "--max-minutes", "0.005")]
    with forked(command, tmp_path / "log.txt") as program:
        assert program.end() == 75
    saved = step_of(checkpoints(tmp_path / "run", "step")[0])
    line = f"train_dist.py: stopped by --max-minutes, saved at step {saved}: "
    assert program.output.splitlines()[-1].startswith(line)


def test_usr1_stops_and_wandb_goes_on_with_the_same_run(place, tmp_path):
    run = tmp_path / "run"
    command = ["train_dist.py", *training(place, run, "--wandb.mode", "offline")]
    with forked(command, tmp_path / "log.txt") as program:
        program.wait_until(lambda: steps_taken(run) >= 40)
        program.process.send_signal(signal.SIGUSR1)
        assert program.end() == 75
    assert "stopped by SIGUSR1, saved at step" in program.output
    (first,) = offline_runs(run)
    # Directories are named by the second.
    time.sleep(1)
    with forked(command, tmp_path / "again.txt") as program:
        assert program.end() == 0, program.output
    assert json.loads((run / "summary.json").read_text())["steps"] == STEPS
    both = offline_runs(run)
    assert len(both) == 2 and first in both
    (name,) = {path.name.split("-")[-1] for path in both}
    exits = {path: wandb_records(path) for path in both}
    assert [record.run.run_id for record in exits[first] if record.WhichOneof("record_type") == "run"][0] == name
    kinds = {path: [record.WhichOneof("record_type") for record in records] for path, records in exits.items()}
    (second,) = set(both) - {first}
    assert "preempting" in kinds[first] and "preempting" not in kinds[second]
    codes = [[record.exit.exit_code for record in exits[path] if record.HasField("exit")] for path in (first, second)]
    assert codes == [[75], [0]]


def test_usr1_through_torchrun(place, tmp_path):
    """Without the option, SIGUSR1 would end torchrun alone, and the ranks would train on."""
    run = tmp_path / "run"
    options = ("--standalone", "--signals-to-handle", "SIGTERM,SIGINT,SIGUSR1")
    with started(torchrun(ROOT / "train_dist.py", *training(place, run), options=options), tmp_path / "log") as program:
        program.wait_until(lambda: steps_taken(run) >= 20)
        ranks = program.ranks()
        program.process.send_signal(signal.SIGUSR1)
        assert program.end() != 0
        assert len(ranks) == RANKS and not any(rank.is_running() for rank in ranks)
    assert "stopped by SIG" in program.output and (run / "stopped.json").exists()


def test_a_second_job_is_refused_while_the_first_one_lives(place, undisturbed, tmp_path):
    run = tmp_path / "run"
    more = training(place, run, "--optimizer.epochs", "1000")
    with forked(["train_dist.py", *more], tmp_path / "first.txt") as first:
        first.wait_until(lambda: steps_taken(run) >= 20)
        for overwrite in ([], ["--resume", "never", "--overwrite"]):
            with forked(["train_dist.py", *more, *overwrite], tmp_path / "second.txt") as second:
                assert second.end() == 2
            (line,) = second.output.splitlines()
            assert f"{run} is in use by a job that is alive (host {socket.gethostname()}, process" in line
        before = steps_taken(run)
        first.wait_until(lambda: steps_taken(run) >= before + 5)
        first.process.kill()
        first.end()
    with forked(["train_dist.py", *training(place, run, "--optimizer.epochs", "1000", "--max-steps", "1")],
                tmp_path / "third.txt") as third:  # fmt: skip
        assert third.end() == 2  # another configuration, found at once: the first job is dead
    assert "--max-steps" in third.output


@pytest.mark.parametrize("command", ["evaluate", "export", "report"])
def test_other_commands_stop_and_leave_nothing_half_done(undisturbed, tmp_path, command):
    out, note = tmp_path / "out", tmp_path / "stopped"
    options = {"export": ["--out", out, "--part-rows", 1, "--chunk", 1], "report": ["--out", out]}.get(command, [])
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    whole = ["gnnrec", command, undisturbed, "--device", "cpu", *options]
    with forked(whole, tmp_path / "log.txt", GNNREC_STOPPED_FILE=str(note)) as program:
        program.wait_until_it_listens()
        program.process.send_signal(signal.SIGTERM)
        assert program.end() == 75
    (line,) = program.output.splitlines()
    assert line.startswith("gnnrec: stopped by SIGTERM") and note.read_text() == line + "\n"
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")} == before
    if command == "export":
        # What there is of it does not look like an export, and the same command goes on.
        assert not (out / "manifest.json").exists()
        with forked(whole, tmp_path / "again.txt") as program:
            assert program.end() == 0, program.output
        assert (out / "manifest.json").exists() and not list(out.rglob(".*"))
    elif command == "report":
        assert not out.exists() and not list(tmp_path.glob(".*"))


def test_a_second_interrupt_means_it(place, tmp_path):
    """Wide rows make a step long: the second one comes before the first has had an effect."""
    run = tmp_path / "run"
    command = ["train_dist.py", *training(place, run, "--model.dim", "3000", "--loader.seed-users", "0")]
    with forked(command, tmp_path / "log.txt") as program:
        program.wait_until(lambda: steps_taken(run) >= 1)
        program.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        program.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert program.end() == 130, program.output
        assert time.monotonic() - began < 22
    assert not (run / "stopped.json").exists() and "Traceback" not in program.output
