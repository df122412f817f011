"""Exports of many users on two ranks: time and memory, ``python -m benchmarks.export_scale --users 100000 5000000``.

Data and checkpoint are written straight into their formats, a block of users at a time: 40 ratings a user, movies of a
long tail, rows at their initial values. Only the export is measured, from the start of torchrun to its end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.record import environment_with, torchrun, write
from gnnrec.config.train_config import assigned_train_config
from gnnrec.data.prepared import SPLIT_NAMES, TRAIN, Manifest, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.models.build import build_replicated, mean_degrees
from gnnrec.training.checkpoint.info import DESCRIPTION, CheckpointInfo, by_user_name, checkpoint_path
from gnnrec.utils import files

RATINGS_A_USER, MOVIES, SHARDS, BLOCK = 40, 26_744, 256, 100_000
LEVELS = np.arange(1, 11) / 2


def write_data(directory: Path, users: int, movies: int = MOVIES, ratings_a_user: int = RATINGS_A_USER) -> None:
    """Writes a prepared dataset: every user has as many distinct movies, by default 40, popular ones more often."""
    directory.mkdir(parents=True)
    count = users * ratings_a_user
    kinds = {"movie": np.int32, "rating": np.float32, "split": np.uint8, "timestamp": np.int64}
    arrays = {
        name: np.lib.format.open_memmap(directory / f"{name}.npy", "w+", dtype, (count,))
        for name, dtype in kinds.items()
    }
    np.save(directory / "user_ptr.npy", np.arange(users + 1, dtype=np.int64) * ratings_a_user)
    rng = np.random.default_rng(0)
    for first in range(0, users, BLOCK):
        last = min(first + BLOCK, users)
        edges, shape = slice(first * ratings_a_user, last * ratings_a_user), (last - first, ratings_a_user)
        # A user has one movie from each stretch of equal popularity: distinct, ascending, long-tailed.
        bounds = np.round(movies * (np.arange(ratings_a_user + 1) / ratings_a_user) ** 2.2).astype(np.int64)
        bounds = np.maximum(bounds, np.arange(ratings_a_user + 1))
        low, high = bounds[:-1], bounds[1:]
        arrays["movie"][edges] = (low + (rng.random(shape, np.float32) * (high - low)).astype(np.int64)).ravel()
        arrays["rating"][edges] = rng.choice(LEVELS.astype(np.float32), shape[0] * shape[1])
        arrays["split"][edges] = TRAIN
        arrays["timestamp"][edges] = rng.integers(1e9, 1.4e9, shape[0] * shape[1])
    for array in arrays.values():
        array.flush()
    pd.DataFrame({"row": np.arange(users), "user": np.arange(users) + 1}).to_parquet(directory / "users.parquet")
    table = {"row": np.arange(movies), "movie": np.arange(movies) + 1, "title": "", "genres": ""}
    pd.DataFrame(table).to_parquet(directory / "movies.parquet")
    split = {"protocol": "random", "counts": dict.fromkeys(SPLIT_NAMES, 0) | {SPLIT_NAMES[TRAIN]: count}}
    manifest = Manifest(
        source={}, counts={"users": users, "movies": movies, "ratings": count, "duplicates_dropped": 0},
        rating={"min": 0.5, "max": 5.0, "mean": 2.75, "std": 1.44, "levels": LEVELS.tolist()},
        split=split, order="balanced", shards=[users * shard // SHARDS for shard in range(SHARDS + 1)],
    )  # fmt: skip
    for path in sorted(directory.iterdir()):
        manifest.files[path.name] = {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
    (directory / "manifest.json").write_text(json.dumps(vars(manifest) | {"fingerprint": manifest.fingerprint}))


def write_run(run: Path, data: Path) -> None:
    """Writes a run directory with a checkpoint at initial values, its rows in files of a block of users."""
    config = assigned_train_config(None, ["objective=rating", "wandb.mode=disabled"], data=data, run_dir=run)
    dataset = PreparedDataset(data)
    model = build_replicated(config.model, dataset, mean_degrees(dataset, (TRAIN,)), True, World(), config.seed)
    directory = checkpoint_path(run, "best", 1)
    directory.mkdir(parents=True)
    (run / "config.yaml").write_text(config.yaml())
    torch.save(model.state_dict(), directory / "model.pt")
    generator, dim = torch.Generator().manual_seed(0), config.model.dim
    for first in range(0, dataset.num_users, 5 * BLOCK):
        last = min(first + 5 * BLOCK, dataset.num_users)
        rows = {
            name: torch.randn(last - first, dim, generator=generator) * config.model.init_std
            for name in ("message_embedding", "residual_embedding", "id_embedding")
        }
        rows["bias"] = torch.zeros(last - first)
        torch.save(rows, directory / by_user_name("users", first, last))
    info = CheckpointInfo(epoch=1, step=1, validation={}, dataset=dataset.fingerprint)
    info.files = {path.name: files.sha256(path) for path in sorted(directory.iterdir())}
    (directory / DESCRIPTION).write_text(info.text())


def measure(users: int, ranks: int, place: Path) -> dict:
    """Measures seconds and peak memory of one export."""
    write_data(place / "data", users)
    write_run(place / "run", place / "data")
    program = Path(__file__).with_name("export_rank.py")
    command = [*torchrun(ranks), str(program), str(place / "run"), str(place / "out"), str(place / "peak")]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment_with(OMP_NUM_THREADS="1"))
    seconds = time.perf_counter() - started
    peaks = [float(path.read_text()) for path in place.glob("peak-*")]
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    assert manifest["users"] == users and len(peaks) == ranks
    found = {"users": users, "ratings": users * RATINGS_A_USER, "seconds": seconds, "users_per_s": users / seconds}
    return found | {"peak_gb": max(peaks), "bytes": sum(entry["bytes"] for entry in manifest["files"].values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 500_000, 1_000_000, 5_000_000])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--place", type=Path, help="directory; 15 GB for 5 million users (default: a temporary one)")
    parser.add_argument("--name", default="export_scale", help="name of the result file")
    arguments = parser.parse_args()
    rows = []
    for users in arguments.users:
        place = Path(tempfile.mkdtemp(dir=arguments.place))
        try:
            rows.append(measure(users, arguments.ranks, place))
        finally:
            shutil.rmtree(place)
        print(rows[-1], flush=True)
    figures = {"ranks": arguments.ranks, "ratings_a_user": RATINGS_A_USER, "movies": MOVIES, "rows": rows}
    print(write(arguments.name, "benchmarks.export_scale", figures))


if __name__ == "__main__":
    main()
