"""Counts the cost of steps and validations on a GPU, without one.

    python -m benchmarks.gpu_budget --before CHECKOUT

The counts are those of the tests' pretend GPU: waits of the host, kernel launches, operators, operators that mix
devices, and bytes. Triton's kernels run in Triton's interpreter, which counts what their loads and stores touch.
``--before`` is another checkout of this repository, whose package is counted in the same way, or an earlier result of
this program, whose figures "after" are those before now.

Datasets with MovieLens 20M's shares of users, movies and ratings are generated at a hundredth and a fiftieth of its
size. Sampled steps take as small a share of the users. What a step reads then grows linearly with the size, so the
straight line through both counts gives the bytes at MovieLens 20M's size. ``check`` is what the larger dataset alone
would give, times 50: both are equal if a step has no fixed costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import record

#: MovieLens 20M.
USERS, MOVIES, RATINGS = 138_493, 26_744, 20_000_263
#: Sizes of the generated datasets, as shares of MovieLens 20M.
SIZES = (0.01, 0.02)
#: Seed users of a step in the configurations that sample.
SEED_USERS = 16_384
REPOSITORY = Path(__file__).resolve().parents[1]
#: Folders of this checkout that another one is counted with.
_OWN = ("benchmarks", "tests")


def cases(ratings: Path, ranking: Path, size: float) -> dict[str, dict]:
    """Returns what is counted (:mod:`tests.pretend_gpu.count_steps`).

    Args:
        ratings: A prepared dataset.
        ranking: A prepared dataset with the protocol ``strong``.
        size: Its share of MovieLens 20M.
    """
    seeds = f"--loader.seed_users={round(SEED_USERS * size)}"
    found = {"ml20m_full": _case(ratings, "--config=configs/ml20m_full.yaml")}
    for name in ("ml20m_sage", "ml20m_gat", "ml20m_gcn"):
        found[name] = _case(ratings, f"--config=configs/{name}.yaml", seeds)
    # The closed form is computed once, before the first step.
    found["ranking_squared"] = _case(ranking, "--config=configs/ml20m_ranking.yaml", "--ranking.start=random")
    found["validation"] = found["ml20m_full"] | {"counts": "validation"}
    return found


def _case(data: Path, *options: str) -> dict:
    return {"data": str(data), "options": list(options), "counts": "steps"}


def prepare(directory: Path, size: float, seed: int = 1) -> tuple[Path, Path]:
    """Generates ratings of a share of MovieLens 20M's size, and prepares them for ratings and for rankings."""
    from gnnrec.data.prepare import PrepareOptions, prepare
    from gnnrec.data.synth import SynthOptions, synth

    users, movies, ratings = (round(size * total) for total in (USERS, MOVIES, RATINGS))
    synth(directory / "synth", SynthOptions(users=users, movies=movies, ratings=ratings, seed=seed))
    prepare(directory / "ratings", PrepareOptions(ratings=directory / "synth"))
    prepare(directory / "ranking", PrepareOptions(ratings=directory / "synth", protocol="strong"))
    return directory / "ratings", directory / "ranking"


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


def extrapolated(sizes: tuple[float, float], figures: tuple[float, float], size: float = 1.0) -> float:
    """Value at ``size`` of the straight line through two figures."""
    slope = (figures[1] - figures[0]) / (sizes[1] - sizes[0])
    return figures[1] + slope * (size - sizes[1])


def budget(prepared: dict[float, tuple[Path, Path]], names: list[str], checkout: Path = REPOSITORY) -> dict[str, dict]:
    """Counts cases at both sizes; figures other than bytes are those of the larger dataset."""
    sizes = tuple(prepared)
    specs = [{name: cases(*prepared[size], size)[name] for name in names} for size in sizes]
    small, large = (count(spec, checkout) for spec in specs)
    return {name: _row(sizes, (small[name], large[name])) for name in large}


def _row(sizes: tuple[float, float], counts: tuple[dict, dict]) -> dict:
    read = counts[0]["bytes"], counts[1]["bytes"]
    large = counts[1]
    return {
        "syncs": round(large["waits"], 2),
        "launches": round(large["launches"], 1),
        "gigabytes": round(extrapolated(sizes, read) / 1e9, 2),
        "operators": round(large["operators"], 1),
        "device_mixing": large["device_mixing"],
        "check": round(read[1] / sizes[1] / 1e9, 2),
        "bytes_counted": dict(zip(map(str, sizes), map(round, read))),
        "triton_launches": round(sum(large["triton"].values()), 1),
        "syncs_by_line": large["waits_by_line"],
        "gigabytes_by_operator": _largest(sizes, counts),
    }


def _largest(sizes: tuple[float, float], counts: tuple[dict, dict], most: int = 12) -> dict[str, float]:
    by_name = [found["bytes_by_operator"] for found in counts]
    found = {
        name: round(extrapolated(sizes, (by_name[0].get(name, 0.0), by_name[1][name])) / 1e9, 3) for name in by_name[1]
    }
    return dict(sorted(found.items(), key=lambda item: -item[1])[:most])


def before_of(path: Path, prepared: dict[float, tuple[Path, Path]], names: list[str]) -> dict[str, dict]:
    """Figures before: an earlier result's figures after, or the counts of another checkout."""
    if path.is_dir():
        return budget(prepared, names, path)
    earlier = json.loads(path.read_text(encoding="utf-8"))
    return {name: row["after"] for name, row in earlier["configs"].items()}


def print_table(configs: dict[str, dict]) -> None:
    """Prints a row for each configuration, before and after."""
    print(f"{'':28}  {'syncs':>7}  {'launches':>9}  {'GB':>7}  {'x 50':>7}  {'operators':>9}  {'mixing':>6}")
    for name, row in configs.items():
        for when in ("before", "after"):
            if row.get(when):
                found = row[when]
                print(
                    f"{name:20}  {when:6}  {found['syncs']:7.2f}  {found['launches']:9,.1f}  "
                    f"{found['gigabytes']:7.2f}  {found.get('check', 0):7.2f}  {found['operators']:9,.1f}  "
                    f"{found['device_mixing']:6}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="count this checkout too, or read this earlier result")
    parser.add_argument("--place", type=Path, help="keep the generated datasets here (default: a temporary directory)")
    names = list(cases(Path(), Path(), 1.0))
    parser.add_argument("--configs", nargs="+", choices=names, default=names, help="count these only, without a result")
    parser.add_argument("--no-result", action="store_true", help="print the table and write no result file")
    options = parser.parse_args()
    if options.before is not None and not options.before.exists():
        parser.error(f"--before {options.before}: there is no such checkout or result")
    with tempfile.TemporaryDirectory() as name:
        place = options.place or Path(name)
        prepared = {}
        for size in SIZES:
            directory = place / f"{size:g}"
            made = directory / "ratings", directory / "ranking"
            prepared[size] = made if all(path.exists() for path in made) else prepare(directory, size)
        before = before_of(options.before, prepared, options.configs) if options.before else {}
        after = budget(prepared, options.configs)
    configs = {name: {"before": before.get(name), "after": row} for name, row in after.items()}
    print_table(configs)
    if options.configs == names and not options.no_result:
        print(record.write("gpu_budget", "benchmarks.gpu_budget", {"sizes": SIZES, "configs": configs}))


if __name__ == "__main__":
    main()
