"""Counts the cost of steps and validations on a GPU, without one.

    python -m benchmarks.gpu_budget --before CHECKOUT

The counts are those of the tests' pretend GPU: waits of the host, kernel launches, operators, operators that mix
devices, and bytes. Triton's kernels run in Triton's interpreter, which counts what their loads and stores touch.
``--before`` is another checkout of this repository, whose package is counted in the same way, or an earlier result of
this program, whose figures "after" are those before now.

Bytes of a step grow linearly with training ratings, users and movies, apart from fixed costs: four small datasets
determine the four coefficients, with which bytes at MovieLens 20M's size are computed. A fifth dataset, larger than
each of the four, is the check: ``check`` is the relative difference of its bytes from those that the coefficients
predict. Sampled steps take a ninth of the users, as at MovieLens 20M's size, and nearly all users and movies have more
ratings than are sampled. At MovieLens 20M's size many movies have fewer, so bytes of sampled steps are upper bounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import record

#: MovieLens 20M.
USERS, MOVIES, RATINGS = 138_493, 26_744, 20_000_263
#: Users, movies, and ratings of each user, of the datasets that determine the coefficients, and of the check.
SIZES = [(100, 80, 30), (100, 80, 70), (200, 80, 30), (100, 150, 70)]
CHECK = (170, 110, 60)
#: Steps that a pass over the users takes at MovieLens 20M's size, with 16,384 seed users.
STEPS_A_PASS = 9
#: Rankings take a fixed number of users in a step, so their bytes are not those of a share of the users.
NOT_LINEAR = ("ranking_squared", "ranking_drawn")
#: Configurations that an earlier checkout does not have.
NEW = ("ml20m_full_bf16",)
REPOSITORY = Path(__file__).resolve().parents[1]
#: Folders of this checkout that another one is counted with.
_OWN = ("benchmarks", "tests")


@dataclasses.dataclass(frozen=True)
class Size:
    """A prepared dataset for ratings and one for rankings, and their size.

    Attributes:
        ratings: The dataset for ratings.
        ranking: The dataset for rankings: protocol ``strong``.
        features: Training ratings, users, movies, and 1.
    """

    ratings: Path
    ranking: Path
    features: tuple[float, float, float, float]


def cases(ratings: Path, ranking: Path, users: int) -> dict[str, dict]:
    """Returns what is counted (:mod:`tests.pretend_gpu.count_steps`).

    Args:
        ratings: A prepared dataset.
        ranking: A prepared dataset with the protocol ``strong``.
        users: Users of both.
    """
    seeds = f"--loader.seed_users={-(-users // STEPS_A_PASS)}"
    full = "--config=configs/ml20m_full.yaml"
    found = {"ml20m_full": _case(ratings, full)}
    found["ml20m_full_bf16"] = _case(ratings, full, "--model.message_tables=bf16")
    for name in ("ml20m_sage", "ml20m_gat", "ml20m_gcn"):
        found[name] = _case(ratings, f"--config=configs/{name}.yaml", seeds)
    # The closed form is computed once, before the first step.
    options = "--config=configs/ml20m_ranking.yaml", "--ranking.start=random", "--ranking.users_a_step=8"
    found["ranking_squared"] = _case(ranking, *options)
    found["ranking_drawn"] = _case(ranking, *options, "--ranking.loss=sampled_softmax")
    found["validation"] = found["ml20m_full"] | {"counts": "validation"}
    return found


def _case(data: Path, *options: str) -> dict:
    return {"data": str(data), "options": list(options), "counts": "steps"}


def prepare(directory: Path, users: int, movies: int, each: int) -> Size:
    """Prepares random ratings of ``each`` movies by every user; what is there already is kept."""
    from gnnrec.data.prepare import PrepareOptions, prepare
    from gnnrec.data.prepared import PreparedDataset

    if not (directory / "ranking").exists():
        directory.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(users * movies)
        columns = {
            "user": np.repeat(np.arange(users), each),
            "movie": np.concatenate([rng.permutation(movies)[:each] for _ in range(users)]),
            "rating": rng.integers(1, 11, users * each) / 2,
            "timestamp": rng.integers(800_000_000, 1_400_000_000, users * each),
        }
        pq.write_table(pa.table(columns), directory / "ratings.parquet")
        for name, protocol in (("ratings", "random"), ("ranking", "strong")):
            options = PrepareOptions(ratings=directory / "ratings.parquet", protocol=protocol, overwrite=True)
            prepare(directory / name, options)
    manifest = PreparedDataset(directory / "ratings").manifest
    features = manifest.split["counts"]["train"], manifest.counts["users"], manifest.counts["movies"], 1.0
    return Size(directory / "ratings", directory / "ranking", features)


def movielens_20m(size: Size) -> np.ndarray:
    """Features of MovieLens 20M, split as a prepared dataset is."""
    split = json.loads((size.ratings / "manifest.json").read_text(encoding="utf-8"))["split"]
    return np.array([RATINGS * (1 - split["test"] - split["validation"]), USERS, MOVIES, 1.0])


def count(spec: dict[str, dict], checkout: Path = REPOSITORY) -> dict[str, dict]:
    """Counts cases with the package of a checkout, in a process of its own; kernels of Triton are interpreted.

    Raises:
        SystemExit: A case ends with an error.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for folder in _OWN:
            (place / folder).symlink_to(REPOSITORY / folder)
        for folder in ("gnnrec", "configs"):
            (place / folder).symlink_to(checkout.resolve() / folder)
        (place / "cases.json").write_text(json.dumps(spec), encoding="utf-8")
        variables = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(place), "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-m", "tests.pretend_gpu.count_steps", "cases.json"]
        done = subprocess.run(command, cwd=place, env=variables, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"the counts of {checkout} ended with exit code {done.returncode}")
    counts = json.loads(done.stdout)
    for name, found in counts.items():
        if "error" in found:
            raise SystemExit(f"{name} in {checkout}: {found['error']}")
    return counts


def coefficients(features: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Solves ``features @ coefficients = read``: bytes for each rating, user and movie, and fixed bytes.

    Args:
        features: ``[4, 4]``, a row for each dataset.
        read: Bytes, ``[4]`` or ``[4, operators]``.
    """
    return np.linalg.solve(features, read)


def budget(sizes: list[Size], names: list[str], checkout: Path = REPOSITORY, jobs: int = 1) -> dict[str, dict]:
    """Counts cases on all datasets; the last one is the check, which has the figures other than bytes.

    Args:
        sizes: The datasets.
        names: The cases.
        checkout: The package to count.
        jobs: Most processes at a time; each counts one dataset.
    """
    specs = []
    for size in sizes:
        everything = cases(size.ratings, size.ranking, int(size.features[1]))
        specs.append({name: everything[name] for name in names})
    for spec in specs[:-1]:
        for name in NOT_LINEAR:
            spec.pop(name, None)
    with ThreadPoolExecutor(jobs) as pool:
        counts = list(pool.map(lambda spec: count(spec, checkout), reversed(specs)))[::-1]
    return {name: _row(sizes, [found[name] for found in counts if name in found]) for name in names}


def _row(sizes: list[Size], counts: list[dict]) -> dict:
    last = counts[-1]
    row = {
        "syncs": round(last["waits"], 2),
        "syncs_of_a_step": round(last["step_waits"], 2),
        "launches": round(last["launches"], 1),
        "triton_launches": round(sum(last["triton"].values()), 1),
        "operators": round(last["operators"], 1),
        "device_mixing": last["device_mixing"],
    }
    if len(counts) == len(sizes):
        row |= _bytes(sizes, counts)
    return row | {"syncs_by_line": last["waits_by_line"]}


def _bytes(sizes: list[Size], counts: list[dict]) -> dict:
    """Bytes at MovieLens 20M's size, together and by operator, and the check."""
    features = np.array([size.features for size in sizes])
    names = sorted({name for found in counts for name in found["bytes_by_operator"]})
    read = np.array([[found["bytes_by_operator"].get(name, 0.0) for name in names] for found in counts])
    solved = coefficients(features[:-1], read[:-1])
    large, predicted = movielens_20m(sizes[0]) @ solved / 1e9, (features[-1] @ solved).sum()
    by_name = sorted(zip(names, large), key=lambda item: -item[1])
    return {
        "gigabytes": round(large.sum(), 2),
        "check": round(predicted / read[-1].sum() - 1, 4),
        "bytes_for_each": dict(zip(("rating", "user", "movie", "step"), np.round(solved.sum(1), 1).tolist())),
        "gigabytes_by_operator": {name: round(number, 3) for name, number in by_name[:12]},
    }


def before_of(path: Path, sizes: list[Size], names: list[str], jobs: int = 1) -> dict[str, dict]:
    """Figures before: an earlier result's figures after, or the counts of another checkout."""
    if path.is_dir():
        return budget(sizes, [name for name in names if name not in NEW], path, jobs)
    earlier = json.loads(path.read_text(encoding="utf-8"))
    return {name: row["after"] for name, row in earlier["configs"].items()}


def print_table(configs: dict[str, dict]) -> None:
    """Prints a row for each configuration, before and after."""
    print(f"{'':28}  {'syncs':>7}  {'launches':>9}  {'GB':>7}  {'check':>7}  {'operators':>9}  {'mixing':>6}")
    for name, row in configs.items():
        for when in ("before", "after"):
            found = row[when]
            if found:
                print(
                    f"{name:20}  {when:6}  {found['syncs']:7.2f}  {found['launches']:9,.1f}  "
                    f"{found.get('gigabytes', ''):>7}  {found.get('check', ''):>7}  {found['operators']:9,.1f}  "
                    f"{found['device_mixing']:6}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="count this checkout too, or read this earlier result")
    parser.add_argument("--place", type=Path, help="keep the generated datasets here (default: a temporary directory)")
    names = list(cases(Path(), Path(), 1))
    parser.add_argument("--configs", nargs="+", choices=names, default=names, help="count these only, without a result")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time (default: %(default)s)")
    parser.add_argument("--no-result", action="store_true", help="print the table and write no result file")
    options = parser.parse_args()
    if options.before is not None and not options.before.exists():
        parser.error(f"--before {options.before}: there is no such checkout or result")
    with tempfile.TemporaryDirectory() as name:
        place = options.place or Path(name)
        sizes = [prepare(place / "-".join(map(str, size)), *size) for size in [*SIZES, CHECK]]
        before = before_of(options.before, sizes, options.configs, options.jobs) if options.before else {}
        after = budget(sizes, options.configs, jobs=options.jobs)
    configs = {name: {"before": before.get(name), "after": row} for name, row in after.items()}
    print_table(configs)
    if options.configs == names and not options.no_result:
        print(
            record.write(
                "gpu_budget", "benchmarks.gpu_budget", {"sizes": SIZES, "check_size": CHECK, "configs": configs}
            )
        )


if __name__ == "__main__":
    main()
