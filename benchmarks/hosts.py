"""Trains on several hosts with links of limited speed between them, all on one machine.

    python -m benchmarks.hosts --data PREPARED

One rank on every host, started by ``launch/torchrun.sh`` as on a cluster. It measures the share of communication in a
step, and the bytes that each host sends in a step, next to the formula. Needs root, Linux and iproute2. If there are
more hosts than cores, hosts wait for each other: seconds are then too long, but bytes are right.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import record
from benchmarks.network_namespaces import Hosts, require
from gnnrec.distributed.exit import exit_on_user_error
from gnnrec.errors import UserError

ROOT = Path(__file__).parents[1]
#: Steps of a short and of a long run. Their difference in bytes is that of the last steps, without start and end.
SHORT, LONG = 4, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--config", default="ml20m_full", help="name in configs/ (default: %(default)s)")
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 4], help="numbers of hosts (default: 1 2 4)")
    parser.add_argument("--bandwidth", type=float, default=1000, help="Mbit/s of a link, each way (default: 1000)")
    parser.add_argument("--delay", type=float, default=0.2, help="ms between two hosts (default: 0.2)")
    parser.add_argument("--wire", default="float32", choices=["float32", "bf16"], help="as in training")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with exit_on_user_error("benchmarks.hosts"):
        require()
        check(options)
        rows = {}
        for count in options.hosts:
            with tempfile.TemporaryDirectory() as place, Hosts(count, options.bandwidth, options.delay) as hosts:
                rows[str(count)] = measure(hosts, options.data.resolve(), options.config, Path(place), options.wire)
            print(json.dumps({count: rows[str(count)]}, indent=1), flush=True)
        figures = {
            "config": options.config,
            "wire": options.wire,
            "bandwidth_mbit": options.bandwidth,
            "delay_ms": options.delay,
            "threads_a_host": 1,
            "cores": len(os.sched_getaffinity(0)),
            "hosts": rows,
        }
        name = "hosts" if options.wire == "float32" else f"hosts_{options.wire}"
        print(record.write(name, "benchmarks.hosts", figures))


def check(options: argparse.Namespace) -> None:
    """Raises a :class:`UserError` for invalid options."""
    if not (options.data / "manifest.json").is_file():
        raise UserError(f"--data {options.data}: no prepared dataset; gnnrec prepare makes one")
    if not (ROOT / "configs" / f"{options.config}.yaml").is_file():
        raise UserError(f"--config {options.config}: no such file in configs/")
    if min(options.hosts) < 1 or max(options.hosts) > 200:
        raise UserError(f"--hosts {' '.join(map(str, options.hosts))}: each must be between 1 and 200")
    if options.bandwidth <= 0 or options.delay < 0:
        raise UserError("--bandwidth must be above 0, and --delay at least 0")


def measure(hosts: Hosts, data: Path, config: str, place: Path, wire: str = "float32") -> dict:
    """Measures one number of hosts; bytes are per rank and step.

    Returns:
        ``step_seconds``, ``collective_seconds`` of it and ``collective_share``. With several hosts also
        ``formula_bytes`` of the partition report; ``handed_bytes`` of all tensors that were passed to
        all-reduces; ``ring_bytes`` that a ring all-reduce of these sends; ``sent_bytes`` as interfaces count them;
        ``wire_bytes`` with the headers of all packets; ``wire_seconds``, which these take at the link's bandwidth;
        ``sent_over_ring`` and ``wire_over_ring``, relative differences; ``delay_by`` of the hosts;
        ``round_trip_ms`` of an empty message.
    """
    arguments = ["--config", str(ROOT / "configs" / f"{config}.yaml"), "--data", str(data), "--log-every", str(SHORT)]
    arguments += ["--validate-every", "0", "--baselines", "false", "--interest.enabled", "false", "--wire", wire]
    round_trip = hosts.round_trip() if hosts.count > 1 else 0.0
    sent = {}
    for steps in (SHORT, LONG) if hosts.count > 1 else (LONG,):
        before = [hosts.sent(number) for number in range(1, hosts.count + 1)]
        train(hosts, place / str(steps), [*arguments, "--max-steps", str(steps)])
        after = [hosts.sent(number) for number in range(1, hosts.count + 1)]
        sent[steps] = [[b - a for a, b in zip(*both)] for both in zip(before, after)]
    laps = [lap for lap in records(place / str(LONG) / "run") if lap["step"] > SHORT]
    steps, collectives, mib = (
        statistics.mean(lap[name] for lap in laps) for name in ("step_seconds", "collective_seconds", "collective_mib")
    )
    row = {"step_seconds": steps, "collective_seconds": collectives, "collective_share": collectives / steps}
    if hosts.count == 1:
        return row
    interface, wire = (
        [(long[kind] - short[kind]) / (LONG - SHORT) for short, long in zip(sent[SHORT], sent[LONG])] for kind in (0, 1)
    )
    summary = json.loads((place / str(LONG) / "run" / "summary.json").read_text(encoding="utf-8"))
    handed = mib * 2**20
    ring = handed * 2 * (hosts.count - 1) / hosts.count
    return row | {
        "formula_bytes": summary["partition"]["bytes_a_step"],
        "handed_bytes": round(handed),
        "ring_bytes": round(ring),
        "sent_bytes": [round(each) for each in interface],
        "wire_bytes": [round(each) for each in wire],
        "wire_seconds": 8 * max(wire) / (1e6 * hosts.bandwidth),
        "sent_over_ring": statistics.mean(interface) / ring - 1,
        "wire_over_ring": statistics.mean(wire) / ring - 1,
        "delay_by": hosts.delay_by,
        "round_trip_ms": round_trip,
    }


def train(hosts: Hosts, place: Path, arguments: list[str]) -> None:
    """Trains with one rank on every host, and waits for the end; the run directory is ``place/run``.

    Raises:
        RuntimeError: A host failed; the message has the end of its output.
    """
    place.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment |= {
        "NODES": str(hosts.count), "HEAD_HOST": hosts.name(1), "RANKS_PER_NODE": "1", "MAX_RESTARTS": "0",
        "GNNREC_VENV": sys.prefix, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    }  # fmt: skip
    words = ["bash", str(ROOT / "launch" / "torchrun.sh"), *arguments, "--run-dir", str(place / "run")]
    words += ["--wandb.mode", "disabled", "--device", "cpu"]
    launched = []
    for number in range(1, hosts.count + 1):
        with open(place / f"{number}.log", "wb") as log:
            # In a separate session, so that Ctrl-C reaches only this process, which removes the hosts.
            launched.append(
                subprocess.Popen(
                    hosts.command(number, *words), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True,
                )
            )  # fmt: skip
    while any((codes := [each.poll() for each in launched])[index] is None for index in range(hosts.count)):
        if any(codes):
            break
        time.sleep(0.1)
    for number, code in enumerate(codes, 1):
        if code:
            said = (place / f"{number}.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"{hosts.name(number)} ended with exit code {code}:\n{said[-2000:]}")


def records(run: Path) -> list[dict]:
    """The lines of ``metrics.jsonl`` about steps."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if "collective_seconds" in line]


if __name__ == "__main__":
    main()
