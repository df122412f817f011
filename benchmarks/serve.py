"""Serves an export to a load from this machine: latencies, requests a second next to usual programs, swaps and kills.

    python -m benchmarks.serve --export EXPORT --place DIR

``EXPORT`` is one of a run on a prepared dataset of MovieLens 20M's size, which is still there; without the real one::

    gnnrec synth ratings-20m
    gnnrec prepare data-20m --ratings ratings-20m
    gnnrec train --data data-20m --run-dir run-20m --max-steps 20 --baselines false
    gnnrec export run-20m --out EXPORT

``pip install -c launch/constraints.txt fastapi implicit faiss-cpu`` first. Load comes from one process on the same
cores, over keep-alive connections to 127.0.0.1. ``p99_known_ms`` and ``p99_new_ms`` (20 ratings in each request) are at
a fixed rate, from the moment at which a request was due; ``p99_million_ms`` is that of a million movies with their
index. ``peer_ratio`` compares requests a second of closed loops with the faster one of FastAPI around implicit and
around FAISS (:mod:`benchmarks.serve_peer`): ours with the most connections whose p99 is at most that of the peer where
it answers most. ``requests`` were answered over ten swaps between two exports, compared byte for byte with the answers
of either (``mixed``), and ``killed_failed`` of those while workers were killed failed after one retry. Runs alone on
its machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import orjson

from benchmarks import http_load, record
from benchmarks.serve_fuzz import random_bytes
from benchmarks.serve_million import write_million
from benchmarks.serve_processes import Running, peer, service
from gnnrec.serving.answers import best_movies, find_near
from gnnrec.serving.convert import convert
from gnnrec.serving.requests import LIST, list_request
from gnnrec.serving.snapshot import Snapshot
from gnnrec.serving.targets import find_target

PARTS = ("latency", "million", "peer", "swaps", "kills", "fuzz")
TOP = 20
"""Movies of each list."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, required=True, help="export of a run, whose dataset is there")
    parser.add_argument("--place", type=Path, help="directory for arrays and exports, 2 GB; by default a temporary one")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="few requests and movies; writes no result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        bench = Bench(options.export, Path(place), options.workers, options.quick)
        for part in options.parts:
            started = time.perf_counter()
            found = getattr(bench, part)()
            print(part, json.dumps(found), f"{time.perf_counter() - started:.0f} s", flush=True)
            if not options.quick:
                record.add("serve", part, "benchmarks.serve", found)


class Bench:
    """The measurements.

    Args:
        export: The export.
        place: Directory for everything that is written.
        workers: Processes of a service.
        quick: Whether to send few requests.
    """

    def __init__(self, export: Path, place: Path, workers: int, quick: bool):
        self.export, self.place, self.workers, self.quick = export.resolve(), place, workers, quick
        started = time.perf_counter()
        self.arrays = convert(self.export, place / "arrays")
        self.convert_s = time.perf_counter() - started
        self.snapshot = Snapshot(self.arrays)
        self.rng = np.random.default_rng(0)

    def _known(self, count: int, snapshot: Snapshot | None = None) -> list[bytes]:
        snapshot = snapshot or self.snapshot
        rows = self.rng.integers(0, len(snapshot.users), count).tolist()
        return [http_load.get(f"/recommend?user={snapshot.users[row]}&top={TOP}") for row in rows]

    def _new(self, count: int) -> list[bytes]:
        low, high = self.snapshot.encoder.rating_scale
        requests = []
        for _ in range(count):
            rows = self.rng.choice(min(self.snapshot.encoder.num_movies, 5000), 20, replace=False).tolist()
            ratings = self.rng.uniform(low, high, 20).round(1).clip(low, high).tolist()
            body = [{"movie": self.snapshot.movies.ids[row], "rating": rating} for row, rating in zip(rows, ratings)]
            requests.append(http_load.post("/recommend", orjson.dumps({"ratings": body, "top": TOP})))
        return requests

    def _served(self, path: Path | None = None, arrays: Path | None = None) -> Running:
        return service(path or self.export, arrays or self.arrays.parent, self.workers)

    def latency(self) -> dict:
        """Measures start, memory, and latencies at a fixed rate."""
        starts = []
        for _ in range(1 if self.quick else 3):
            with self._served() as running:
                starts.append(running.ready_s)
        seconds, rate = (2, 100) if self.quick else (20, 300)
        with self._served() as running:
            http_load.steady(running.port, self._known(rate), rate, http_load.is_error)  # first pages
            known = http_load.steady(running.port, self._known(rate * seconds), rate, http_load.is_error)
            new = http_load.steady(running.port, self._new(rate * seconds), rate, http_load.is_error)
            half = [request for pair in zip(self._known(rate), self._new(rate)) for request in pair]
            mixed = http_load.steady(running.port, half, rate, http_load.is_error)
            memory = running.memory()
        return {
            "users": len(self.snapshot.users), "movies": len(self.snapshot.movies),
            "dim": self.snapshot.scoring.movies.shape[1], "workers": self.workers, "rate": rate,
            "convert_s": round(self.convert_s, 1), "start_s": round(statistics.median(starts), 2),
            "p99_known_ms": known.p99_ms, "p99_new_ms": new.p99_ms, "p99_both_ms": mixed.p99_ms,
            "median_known_ms": round(statistics.median(known.latencies) * 1000, 2),
            "median_new_ms": round(statistics.median(new.latencies) * 1000, 2),
            "latency_failed": known.failed + new.failed + mixed.failed,
            "memory_mb": round(memory / 1e6), "mapped_mb": round(self.snapshot.mapped_bytes / 1e6),
            "memory_ratio": round(memory / self.snapshot.mapped_bytes, 2),
        }  # fmt: skip

    def million(self) -> dict:
        """Measures a million movies with their index."""
        movies, seconds, rate = (120_000, 2, 20) if self.quick else (1_000_000, 15, 50)
        started = time.perf_counter()
        arrays = write_million(self.place / "million", movies, 20_000, 64)
        build = time.perf_counter() - started
        snapshot, hits = Snapshot(arrays), []
        wanted = list_request(LIST.of_query([("top", str(TOP))]))
        for user in range(5, 5 + (20 if self.quick else 200)):
            target = find_target(snapshot, str(user))
            near = best_movies(snapshot, wanted, target, near=find_near(snapshot, wanted, target))
            exact = best_movies(snapshot, wanted, target, snapshot.ranker(None).scores(target.user.vectors)[0])
            hits.append(len(np.intersect1d(near[1][0], exact[1][0])) / TOP)
        with self._served(self.place / "million", arrays.parent) as running:
            http_load.steady(running.port, self._known(rate, snapshot), rate, http_load.is_error)
            found = http_load.steady(running.port, self._known(rate * seconds, snapshot), rate, http_load.is_error)
            memory = running.memory()
            ready = running.ready_s
        shutil.rmtree(arrays)
        return {
            "million_movies": movies, "million_dim": 64, "million_rate": rate, "million_build_s": round(build, 1),
            "p99_million_ms": found.p99_ms, "median_million_ms": round(statistics.median(found.latencies) * 1000, 2),
            "million_recall@20": round(statistics.mean(hits), 4), "million_failed": found.failed,
            "million_start_s": round(ready, 2), "million_memory_ratio": round(memory / snapshot.mapped_bytes, 2),
        }  # fmt: skip

    def peer(self) -> dict:
        """Measures requests a second next to FastAPI around implicit and FAISS, in turns."""
        count, rounds = (100, 1) if self.quick else (1500, 3)
        contenders = {
            "ours": self._served,
            "implicit": lambda: peer("implicit", self.arrays, self.workers),
            "faiss": lambda: peer("faiss", self.arrays, self.workers),
        }
        points: dict[str, dict[int, list[tuple[float, float]]]] = {name: {} for name in contenders}
        for _ in range(rounds):
            for name, start in contenders.items():
                with start() as running:
                    http_load.saturating(running.port, self._known(count // 3), 8, http_load.is_error)
                    for connections in (2, 4, 8, 12, 16, 24, 32):
                        found = http_load.saturating(running.port, self._known(count), connections, http_load.is_error)
                        assert not found.failed, name
                        points[name].setdefault(connections, []).append((found.per_second, found.p99_ms))
        best, ratios = {}, {}
        medians = {
            name: {each: tuple(np.median(values, axis=0).round(2).tolist()) for each, values in own.items()}
            for name, own in points.items()
        }
        for name in ("implicit", "faiss"):
            rate, p99 = max(medians[name].values())
            within = [ours for ours in medians["ours"].values() if ours[1] <= p99]
            best[name] = {"requests_per_s": rate, "p99_ms": p99}
            ratios[name] = round(max(rate for rate, _ in within) / rate, 2) if within else 0.0
        return {
            "requests_per_s": max(rate for rate, _ in medians["ours"].values()),
            "peer_ratio": min(ratios.values()), "peer_ratios": ratios, "peer_best": best, "peer_points": medians,
        }  # fmt: skip

    def swaps(self) -> dict:
        """Swaps two exports under load, and compares every answer with those of the one that it names."""
        count, swaps = (1000, 3) if self.quick else (100_000, 10)
        exports = [self.export, self._changed_export()]
        link = self.place / "current"
        link.symlink_to(exports[0])
        requests, answers = self._known(200), []
        for export in exports:
            convert(export, self.place / "arrays")
            with self._served(export) as running:
                own: list[bytes] = [b""] * len(requests)
                http_load.saturating(
                    running.port,
                    requests,
                    1,
                    lambda n, status, body, own=own: own.__setitem__(n, body) or status != 200,
                )
                answers.append(own)
        kept, stop = {"mixed": 0}, threading.Event()

        def check(number: int, status: int, body: bytes) -> bool:
            right = any(body == own[number % len(requests)] for own in answers)
            kept["mixed"] += status == 200 and not right
            return status != 200

        def swap() -> None:
            for number in range(swaps):
                stop.wait(0.8 if self.quick else 4.0)
                (self.place / "next").symlink_to(exports[(number + 1) % 2])
                (self.place / "next").replace(link)

        with self._served(link) as running:
            swapping = threading.Thread(target=swap)
            swapping.start()
            found, rounds = http_load.Outcome(), 0
            while swapping.is_alive() or len(found.latencies) + found.failed < count:
                some = http_load.saturating(running.port, requests * (2 if self.quick else 25), 8, check)
                found.latencies += some.latencies
                found.failed, rounds = found.failed + some.failed, rounds + 1
            swapping.join()
            time.sleep(1)  # the workers look for the last one every 0.2 s
            health = running.ask("/metrics").decode()
        swapped = max(float(line.split()[-1]) for line in health.splitlines() if 'result="swapped"' in line)
        return {
            "requests": len(found.latencies), "failed": found.failed, "mixed": kept["mixed"], "hot_swaps": int(swapped),
            "p99_swapping_ms": found.p99_ms,
        }  # fmt: skip

    def _changed_export(self) -> Path:
        """Copies the export with another offset, so that every score differs."""
        target = self.place / "changed"
        shutil.copytree(self.export, target)
        manifest = json.loads((target / "manifest.json").read_text())
        manifest["offset"] += 0.25
        (target / "manifest.json").write_text(json.dumps(manifest))
        return target

    def kills(self) -> dict:
        """Kills workers under load whose client tries twice."""
        seconds, kills, rate, stopped = (3, 2, 50, 0.2) if self.quick else (16, 3, 300, 0.05)
        with self._served() as running:

            def kill() -> None:
                for _ in range(kills):
                    time.sleep(seconds / (kills + 1))
                    worker = running.workers()[0]  # the one that has lived longest
                    os.kill(worker, signal.SIGSTOP)  # so that it has requests which are lost
                    time.sleep(stopped)
                    os.kill(worker, signal.SIGKILL)

            killing = threading.Thread(target=kill)
            killing.start()
            found = http_load.steady(running.port, self._known(rate * seconds), rate, http_load.is_error, retries=1)
            killing.join()
        assert found.retried > 0, "no request was under way in a worker that was killed"
        return {"worker_kills": kills, "killed_requests": len(found.latencies), "killed_failed": found.failed,
                "killed_retried": found.retried, "p99_killing_ms": found.p99_ms}  # fmt: skip

    def fuzz(self) -> dict:
        """Sends random requests on connections of their own."""
        count = 200 if self.quick else 10_000
        with self._served() as running:
            statuses = running.statuses(random_bytes(seed) for seed in range(count))
            alive = running.ask("/health")
        classes = {f"{digit}xx": sum(status // 100 == digit for status in statuses) for digit in (2, 4, 5)}
        closed = sum(status == 0 for status in statuses)
        return {
            "fuzzed": count,
            "fuzzed_statuses": classes,
            "fuzzed_unanswered": closed,
            "fuzzed_alive": b"ok" in alive,
        }


if __name__ == "__main__":
    main()
