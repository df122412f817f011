"""Two hosts on this machine train what two ranks of one host train, and their links carry what the formula says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import hosts as benchmark
from benchmarks import network_namespaces
from benchmarks.chaos_checks import differences
from benchmarks.network_namespaces import Hosts
from gnnrec.config.train_config import parse_train_config
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.run import train
from tests import debian
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.end_to_end.commands import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timing]


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    """Missing programs are installed where that is possible; else the tests fail, and say how to leave them out."""
    if debian.may_install() and any(
        shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None for name in ("ip", "tc")
    ):
        debian.install("iproute2")
    try:
        network_namespaces.require()
    except UserError as problem:
        pytest.fail(f"{problem}; GNNREC_SKIP_HOSTS=1 leaves these tests out")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    # Sums over movies that are large beside packets and their headers.
    return write_dataset(tmp_path_factory.mktemp("data"), users=300, movies=1200, ratings=9000, test=0.1).directory


def left() -> list[str]:
    """Lists the network namespaces and links of hosts that exist."""
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if "gnnrec" in line] + list(
        map(str, Path("/etc").glob("netns/gnnrec*"))
    )


def plain(world: World, words: list[str]) -> None:
    train(parse_train_config(words), world)


def test_hosts_train_the_same_and_send_what_the_formula_says(data, tmp_path):
    words = ["--config", str(ROOT / "configs" / "ml20m_full.yaml"), "--data", str(data), "--max-steps", "12"]
    words += ["--log-every", "4", "--validate-every", "0", "--baselines", "false", "--interest.enabled", "false"]
    with Hosts(2, bandwidth=1000, delay=0.2) as hosts:
        before = [hosts.sent(number) for number in (1, 2)]
        benchmark.train(hosts, tmp_path / "hosts", words)
        after = [hosts.sent(number) for number in (1, 2)]
        assert len(left()) == 5  # two hosts, their files, a switch
    assert left() == []
    words += ["--run-dir", str(tmp_path / "plain"), "--wandb.mode", "disabled", "--device", "cpu"]
    run_on_ranks(2, plain, words)
    assert differences(tmp_path / "plain", tmp_path / "hosts" / "run") == []
    summary = json.loads((tmp_path / "hosts" / "run" / "summary.json").read_text())
    # Two layers of 64, forward and backward. Of a ring of two each sends half of all bytes, twice.
    least = 12 * summary["partition"]["bytes_a_step"]
    assert least > 12 * 2 * 2 * 1100 * 64 * 4  # of 1200 movies almost all are rated
    for (sent, wire), (sent_before, wire_before) in zip(after, before):
        assert least < sent - sent_before < wire - wire_before < 1.5 * least


class Counters:
    """Hosts that only count: each run sends 1000 bytes at its start and, a step, 160 or 180 on two hosts."""

    count, bandwidth, delay_by = 2, 8.0, "none"

    def __init__(self) -> None:
        self.steps = self.starts = 0

    def round_trip(self) -> float:
        return 0.5

    def sent(self, number: int) -> tuple[int, int]:
        sent = 1000 * self.starts + (140 + 20 * number) * self.steps
        return sent, 2 * sent


def test_bytes_of_a_step_are_without_start_and_end(tmp_path, monkeypatch):
    counters = Counters()

    def stand_in(hosts: Counters, place: Path, arguments: list[str]) -> None:
        steps = int(arguments[arguments.index("--max-steps") + 1])
        counters.starts, counters.steps = counters.starts + 1, counters.steps + steps
        (place / "run").mkdir(parents=True)
        # The first lap is slow, as the first steps are.
        lines = [
            {"step": step, "step_seconds": 0.2 if step > 4 else 9.0, "collective_seconds": 0.05} for step in (4, 8, 12)
        ]
        text = "".join(json.dumps(line | {"collective_mib": 100 / 2**20}) + "\n" for line in lines)
        (place / "run" / "metrics.jsonl").write_text(text + json.dumps({"step": 12, "loss": 1.0}) + "\n")
        (place / "run" / "summary.json").write_text(json.dumps({"partition": {"bytes_a_step": 90}}))

    monkeypatch.setattr(benchmark, "train", stand_in)
    row = benchmark.measure(counters, tmp_path, "ml20m_full", tmp_path)
    assert row["step_seconds"] == pytest.approx(0.2) and row["collective_share"] == pytest.approx(0.25)
    assert (row["formula_bytes"], row["handed_bytes"], row["ring_bytes"]) == (90, 100, 100)
    assert (row["sent_bytes"], row["wire_bytes"], row["round_trip_ms"]) == ([160, 180], [320, 360], 0.5)
    assert row["sent_over_ring"] == pytest.approx(0.7) and row["wire_over_ring"] == pytest.approx(2.4)
    assert row["wire_seconds"] == pytest.approx(360e-6)


def test_messages_are_delayed_both_ways():
    with Hosts(3, bandwidth=1000, delay=20) as hosts:
        assert hosts.delay_by in ("netem", "program")
        assert 40 < hosts.round_trip() < 60
        listed = subprocess.run(hosts.command(3, "hostname"), check=True, capture_output=True, text=True).stdout
    assert listed.strip() == hosts.name(3) and left() == []


@pytest.mark.parametrize("delay", [0, 1])
def test_a_link_has_its_bandwidth(delay):
    send = (
        "import socket, sys\nwith socket.create_connection((sys.argv[1], 5000)) as one:\n one.sendall(bytes(4_000_000))"
    )
    serve = (
        "import socket, time\nwith socket.create_server(('', 5000)) as server:\n"
        " print('ready', flush=True)\n one, _ = server.accept()\n began = time.perf_counter()\n"
        " while one.recv(1 << 20): pass\n print(time.perf_counter() - began)"
    )
    with Hosts(2, bandwidth=80, delay=delay) as hosts:
        receiver = subprocess.Popen(hosts.command(1, sys.executable, "-c", serve), stdout=subprocess.PIPE, text=True)
        assert receiver.stdout.readline() == "ready\n"
        before = hosts.sent(2)
        subprocess.run(hosts.command(2, sys.executable, "-c", send, hosts.name(1)), check=True)
        seconds = float(receiver.communicate()[0])
        sent, wire = (b - a for a, b in zip(before, hosts.sent(2)))
    # 10 MB a second. A wire carries 66 bytes of headers with 1448 of data.
    assert 0.36 < seconds < 1.5
    assert 4e6 < sent < 1.02 * 4e6 and 1.03 * 4e6 < wire < 1.1 * 4e6


def test_a_killed_run_leaves_hosts_and_the_next_removes_them(tmp_path):
    program = (
        "import signal, subprocess, sys\nfrom benchmarks.network_namespaces import Hosts\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where the tests run in the background
        "with Hosts(1, 100, 0) as hosts:\n"
        " one = subprocess.Popen(hosts.command(1, 'sleep', '1000'))\n print(one.pid, flush=True)\n one.wait()"
    )
    for number, remains in ((signal.SIGKILL, 3), (signal.SIGINT, 0)):
        with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.DEVNULL) as run:  # fmt: skip
            sleeper = Path(f"/proc/{run.stdout.readline().strip()}")
            time.sleep(0.2)
            assert sleeper.exists() and len(left()) == 3
            run.send_signal(number)
        assert len(left()) == remains
    assert not sleeper.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "nothing-here"], "no prepared dataset"),
        (["--data", "DATA", "--config", "nothing"], "no such file in configs/"),
        (["--data", "DATA", "--hosts", "0"], "between 1 and 200"),
        (["--data", "DATA", "--bandwidth", "0"], "must be above 0"),
    ],
)
def test_mistakes_are_one_line(data, monkeypatch, capsys, arguments, says):
    words = [str(data) if word == "DATA" else word for word in arguments]
    monkeypatch.setattr(sys, "argv", ["hosts", *words])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    said = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(said) == 1 and says in said[0]


def test_others_than_root_are_told(data, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="only root"):
        Hosts(2, 1000, 0).__enter__()
    assert left() == []
