"""Kills ``gnnrec update`` with -9 at random moments until it ends, for ``benchmarks.living``."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import record
from benchmarks.train_default import trained
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.synth import SynthOptions, synth
from gnnrec.inference.export_verify import VerifyOptions, verify
from gnnrec.utils.files import sha256

#: An update that has got far often ends before its next kill, so many days are needed for many kills.
DAYS = 10
#: Ratings that are trained on first, and those of a day.
FIRST, DAY = 40_000, 2_000


def figures(kills: int, place: Path) -> dict:
    """Updates of ten days, undisturbed and killed: the number of kills, and whether both have the same bytes.

    After each kill the generation that ``current.json`` names must be complete and sound.
    """
    synth(place / "synth", SynthOptions(users=600, movies=400, ratings=60_000))
    table = pd.read_csv(place / "synth" / "ratings.csv").sort_values("timestamp", kind="stable")
    table[:FIRST].to_csv(place / "base.csv", index=False)
    for day in range(DAYS):
        table[FIRST + DAY * day : FIRST + DAY * (day + 1)].to_csv(place / f"day{day}.csv", index=False)
    prepare(place / "data", PrepareOptions(ratings=place / "base.csv"))
    trained(place / "data", place / "run", "--baselines", "false", "--optimizer.epochs", "5")
    kept = place / "kept"
    shutil.copytree(place / "data", kept)
    seconds = [_update(place, day, None)[1] for day in range(DAYS)]
    expected = _checksums(place)
    shutil.rmtree(place / "live")
    shutil.rmtree(place / "data")
    shutil.copytree(kept, place / "data")
    rng, killed, moments = np.random.default_rng(0), 0, []
    for day in range(DAYS):
        while killed < kills * (day + 1) / DAYS:
            ended, at = _update(place, day, float(rng.uniform(0.3, seconds[day])))
            if ended:
                break
            killed += 1
            moments.append(round(at, 1))
            _check_current(place)
        else:
            _update(place, day, None)
        _check_current(place)
        print(f"day {day}: {killed} kills", flush=True)
    found = _checksums(place)
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return {"kills": killed, "identical": not different, "different": different, "kill_seconds": moments}


def _update(place: Path, day: int, limit: float | None) -> tuple[bool, float]:
    """Runs an update, and kills it after so many seconds; returns whether it had ended, and its seconds."""
    source = [str(place / "live")] if (place / "live" / "current.json").exists() else []
    source = source or [str(place / "run"), "--out", str(place / "live")]
    command = [sys.executable, "-m", "gnnrec", "update", *source, "--ratings", str(place / f"day{day}.csv")]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=record.environment_with(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False, time.perf_counter() - started
    if process.returncode:
        raise SystemExit(output.decode())
    return True, time.perf_counter() - started


def _check_current(place: Path) -> None:
    """Raises an error unless the current generation is complete and sound."""
    path = place / "live" / "current.json"
    if path.exists():
        generation = place / "live" / json.loads(path.read_text())["generation"]
        assert (generation / "generation.json").exists(), generation
        verify(generation / "export", VerifyOptions(data=None))


def _checksums(place: Path) -> dict[str, str]:
    """Checksums of all that readers use: rows of exports and deltas, data, and weights; other files have times."""
    found = {}
    for pattern in ("live/*/export/*/*.parquet", "live/*/delta/**/*.parquet", "live/*/run/checkpoints/best-*/*.pt"):
        found |= {str(path.relative_to(place)): sha256(path) for path in place.glob(pattern)}
    manifest = json.loads((place / "data" / "manifest.json").read_text())
    found["data"] = manifest["fingerprint"]
    return found | {"current": (place / "live" / "current.json").read_text()}
