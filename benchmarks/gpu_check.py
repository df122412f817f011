"""Checks this package on one NVIDIA GPU in about ten minutes, in parts.

    python -m benchmarks.gpu_check --place DIR

Each part is a process of its own with a time-out, and adds a line of JSON to ``DIR/gpu_check.jsonl`` when it ends, so a
check that is cut short leaves what was done. A table ends the check. Packages that are missing are named first; the
parts that need them fail, and the others run. ``--quick`` runs every part on tiny data without a GPU: steps on the
pretend GPU of the tests with kernels in plain torch, Triton's kernels in its interpreter, all else on the CPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# No package is imported here that may be missing: the parts import what they need.
REPOSITORY = Path(__file__).resolve().parents[1]
#: Part -> module of benchmarks with its function, and seconds that it may take.
PARTS = {
    "versions": ("gpu_check_device", 60),
    "launches": ("gpu_check_device", 60),
    "kernels": ("gpu_check_device", 180),
    "data": ("gpu_check_data", 120),
    "full_float32": ("gpu_check_steps", 90),
    "full_bf16": ("gpu_check_steps", 90),
    "sage": ("gpu_check_steps", 90),
    "gat": ("gpu_check_steps", 90),
    "resume": ("gpu_check_runs", 180),
    "two_ranks": ("gpu_check_ranks", 90),
    "export": ("gpu_check_runs", 120),
    "plan": ("gpu_check_plan", 60),
}
#: Factor of these times with ``--quick``, which tests call on machines that are busy.
QUICK_TIME = 5
#: Packages that some part imports, by the name of their module.
PACKAGES = (
    "torch torch_geometric triton numba numpy pandas pyarrow sklearn scipy yaml jsonargparse tqdm psutil pytest wandb "
    "pyg_lib"
).split()


def missing_packages() -> list[str]:
    """Names of modules that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def run_part(name: str, place: Path, quick: bool, seconds: float) -> dict:
    """Runs a part in a process of its own.

    Returns:
        ``part``, ``outcome`` (``done``, ``failed`` or ``time-out``), ``seconds``, and ``figures`` or ``error``.
    """
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu_check",
        "--part",
        name,
        "--place",
        str(place),
        *["--quick"] * quick,
    ]
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    if quick:
        variables["CUDA_VISIBLE_DEVICES"] = ""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=variables, stdout=out, stderr=err, start_new_session=True
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that the part started
            process.wait()
        lines, errors = ((file.seek(0), file.read().strip().splitlines())[1] for file in (out, err))
    record = {"part": name, "seconds": round(time.perf_counter() - began, 1)}
    if code == 0 and lines:
        return record | {"outcome": "done", "figures": json.loads(lines[-1])}
    outcome = "time-out" if code is None else "failed"
    return record | {"outcome": outcome, "error": errors[-1][:500] if errors else "", "log": errors[-30:]}


def run_parts(names: list[str], place: Path, quick: bool, log: Path) -> list[dict]:
    """Runs parts one after another; each ends with a line in the log and on the screen."""
    records = []
    for name in names:
        record = run_part(name, place, quick, PARTS[name][1] * (QUICK_TIME if quick else 1))
        records.append(record)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)
    return records


def print_table(records: list[dict], missing: list[str]) -> None:
    """Prints a row for each part: its outcome, its seconds, and its first figures or its error."""
    print(f"\n{'part':14} {'outcome':9} {'seconds':>8}  figures")
    for record in records:
        figures = record.get("figures", {})
        shown = [f"{name} {value}" for name, value in figures.items() if isinstance(value, (int, float, str, bool))]
        print(
            f"{record['part']:14} {record['outcome']:9} {record['seconds']:8.1f}  {', '.join(shown) or record['error']}"
        )
    print(f"missing packages: {', '.join(missing) or 'none'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, required=True, help="directory for data, runs and the log; needs 3 GB")
    parser.add_argument("--quick", action="store_true", help="run all parts on tiny data without a GPU")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="run these parts only")
    parser.add_argument("--part", choices=PARTS, help="run one part in this process and print its figures as JSON")
    options = parser.parse_args()
    options.place.mkdir(parents=True, exist_ok=True)
    if options.part:
        module = importlib.import_module(f"benchmarks.{PARTS[options.part][0]}")
        print(json.dumps(getattr(module, options.part)(options.place.resolve(), options.quick)))
        return 0
    missing = missing_packages()
    print(f"missing packages: {', '.join(missing) or 'none'}", flush=True)
    log = options.place / "gpu_check.jsonl"
    log.unlink(missing_ok=True)
    records = run_parts(options.parts, options.place.resolve(), options.quick, log)
    print_table(records, missing)
    return 0 if all(record["outcome"] == "done" for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
