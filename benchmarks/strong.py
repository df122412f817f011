"""Rankings for users who are not in training: NDCG@100 of default ranking runs next to tuned EASE.

    python -m benchmarks.strong --ratings ml-latest-small --name ml-latest-small --splits 20

Writes ``strong_over_ease``, the relative gain over tuned EASE, to ``lists.json``, beside the figures of
:mod:`benchmarks.lists`. Protocol strong; splits differ in their seed, and the gain is paired. EASE is fitted on the
likes of train users with the penalty that is best on validation users, as published results are. Further rows:

- ``as_published``: our model on the same data: no ratings below the threshold, no validation users.
- ``likes_alone``, ``without_validation_users``: one of both.
- ``ease_with_validation``: EASE with the same penalty, fitted on the likes of the validation users too.

The synthetic set has 600,000 ratings (``gnnrec synth``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import record
from benchmarks.train_default import standard_error, trained
from gnnrec.baselines.baseline import fit_best
from gnnrec.baselines.ease import EASE
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World

METRICS = ("test_ndcg@100", "test_recall@20", "test_recall@50")
LIKES_ALONE = ("--ranking.weak-weight", "0")
WITHOUT_VALIDATION_USERS = ("--ranking.validation-users", "false")
#: Row -> options of the run.
RUNS = {
    "ours": (),
    "likes_alone": LIKES_ALONE,
    "without_validation_users": WITHOUT_VALIDATION_USERS,
    "as_published": (*LIKES_ALONE, *WITHOUT_VALIDATION_USERS),
}
EASE_ROWS = {"ease": (TRAIN,), "ease_with_validation": (TRAIN, VALIDATION)}


def measure(ratings: Path, seed: int, place: Path) -> dict[str, dict]:
    """Rows of one split: name -> test metrics."""
    prepare(place / "data", PrepareOptions(ratings=ratings, seed=seed, protocol="strong"))
    words = ["--objective", "ranking", "--seed", str(seed), "--baselines", "false"]
    rows: dict[str, dict] = {}
    for row, options in RUNS.items():
        summary = trained(place / "data", place / row, *words, *options)
        rows[row] = {name: summary[name] for name in METRICS} | {
            "chosen": summary["chosen"],
            "best_epoch": summary["best_epoch"],
            "training_gain": summary["training_gain"],
            "seconds": summary["seconds"],
        }
    dataset, world = PreparedDataset(place / "data"), World()
    for row, splits in EASE_ROWS.items():
        tuned = fit_best(EASE, dataset, world, splits, seed)
        found = tuned.fitted.metrics(TEST).figures()
        rows[row] = {name: found[name.removeprefix("test_")] for name in METRICS} | tuned.setting
    return rows


def gains(splits: list[dict[str, dict]]) -> dict[str, dict]:
    """Gains in NDCG@100 of rows over EASE on the same users, relative to its mean, and their paired standard errors."""
    found = {}
    for row in RUNS:
        rival = "ease_with_validation" if row in ("ours", "likes_alone") else "ease"
        ours, ease, same = (
            np.array([split[name]["test_ndcg@100"] for split in splits]) for name in (row, "ease", rival)
        )
        found[row] = {
            "relative": float((ours - ease).mean() / ease.mean()),
            "mean": float((ours - ease).mean()),
            "standard_error": standard_error((ours - ease).tolist()) if len(splits) > 1 else None,
            "over_ease_on_the_same_users": float((ours - same).mean() / same.mean()),
        }
    return found


def figures(ratings: Path, name: str, splits: int, synthetic: int) -> dict:
    """Figures for ``lists.json``.

    Args:
        ratings: Directory or file of ratings.
        name: Name of the data.
        splits: Splits of these data.
        synthetic: Splits of the synthetic set; 0 leaves it out.
    """
    found: dict = {"strong_over_ease": {}, "strong_gains": {}, "strong_ndcg100": {}, "strong_splits": {}}
    with tempfile.TemporaryDirectory() as directory:
        sets = {name: (ratings, splits)}
        if synthetic:
            command = ["synth", f"{directory}/synthetic", "--users", "6000", "--movies", "3000", "--ratings", "600000"]
            subprocess.run([sys.executable, "-m", "gnnrec", *command], check=True, env=record.environment_with())
            sets["synthetic"] = Path(directory) / "synthetic", synthetic
        for data, (source, count) in sets.items():
            measured = []
            for seed in range(count):
                with tempfile.TemporaryDirectory() as place:
                    measured.append(measure(source, seed, Path(place)))
                print(json.dumps({data: measured[-1]}), flush=True)
            by_row = gains(measured)
            rows = (*RUNS, *EASE_ROWS)
            means = {row: float(np.mean([split[row]["test_ndcg@100"] for split in measured])) for row in rows}
            found["strong_over_ease"][data] = by_row["ours"]["relative"]
            found["strong_gains"][data] = by_row
            found["strong_ndcg100"][data] = means
            found["strong_splits"][data] = measured
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--synthetic", type=int, default=1, help="splits of the synthetic set; 0 leaves it out")
    parser.add_argument("--out", type=Path, help="file for the figures alone, in place of lists.json")
    options = parser.parse_args()
    found = figures(options.ratings, options.name, options.splits, options.synthetic)
    if options.out:
        options.out.write_text(json.dumps(record.provenance() | found, indent=1) + "\n", encoding="utf-8")
        return
    print(record.add("lists", "strong", "benchmarks.strong", found))


if __name__ == "__main__":
    main()
