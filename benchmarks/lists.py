"""Lists of default rating runs: Recall@20 and NDCG@20 of liked test ratings, next to popularity, EASE and older lists.

    python -m benchmarks.lists --ratings ml-latest-small --name ml-latest-small --large DATA

Each split is prepared and trained twice, with and without interest. Lists without it are in the order of predicted
ratings. EASE is fitted on the same ratings, of the train split, with the L2 that is best for itself on validation; the
row ``ease_with_validation`` is fitted on the validation ratings too and computes scores from them. Then rankings of the
last movie of each user (:mod:`benchmarks.next_movie`), rankings for users who are not in training
(:mod:`benchmarks.strong`), and times at MovieLens 20M's size. Each part is written when it is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import next_movie, record, strong
from benchmarks.train_default import ROOT, standard_error, trained
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.lists import RatingLists, liked_from
from gnnrec.evaluation.ranking_split import read_list_split
from gnnrec.inference.load import load_run
from gnnrec.inference.rating_run import RatingRun
from gnnrec.models.ease import ease_problem
from gnnrec.models.interest_options import InterestOptions
from gnnrec.training.interest import L2_GRID

PARTS = ["lists", "next-movie", "strong", "large", "all-movies"]
#: Options of runs at MovieLens 20M's size.
SHORT_RUN = ["--config", str(ROOT / "configs" / "ml20m_full.yaml"), "--max-steps", "20"]
METRICS = {"recall20": "test_recall@20", "ndcg20": "test_ndcg@20"}


def tuned_ease(data: Path) -> tuple[dict, dict]:
    """Test metrics of EASE of full rank, fitted on the train ratings, and on these and the validation ratings."""
    dataset, world = PreparedDataset(data), World()
    liked = liked_from(dataset, InterestOptions())

    def metrics(split: int, splits: tuple[int, ...], l2: float) -> dict:
        held_out = read_list_split(dataset, world, split, splits, liked)
        found = held_out.rank(ease_problem(held_out.shown, dataset.num_movies, world).solve(l2).scores)
        return {f"test_{name}": value for name, value in found.figures().items()} | {"l2": l2}

    l2 = max(L2_GRID, key=lambda l2: metrics(VALIDATION, (TRAIN,), l2)["test_ndcg@100"])
    return metrics(TEST, (TRAIN,), l2), metrics(TEST, (TRAIN, VALIDATION), l2)


def measure(ratings: Path, seed: int, place: Path) -> dict[str, dict]:
    """Rows of one split: name -> metrics."""
    prepare(place / "data", PrepareOptions(ratings=ratings, seed=seed))
    ours = trained(place / "data", place / "run")
    ease, with_validation = tuned_ease(place / "data")
    older = trained(place / "data", place / "older", "--interest.enabled", "false", "--baselines", "false")
    return {
        "ours": ours["lists"],
        "popularity": ours["lists"]["baselines"]["popularity"],
        "ease": ease,
        "ease_with_validation": with_validation,
        "by_rating": older["lists"],
        "rmse": {name: ours[name] - older[name] for name in ("test_rmse", "test_rmse_without_time")},
        "chosen": ours["chosen"],
        "seconds": {"training": ours["training_seconds"], "interest": ours["seconds"]["interest"]},
    }


def with_all_movies(data: Path, place: Path) -> dict:
    """Interest of all movies in the place of the most rated ones, at MovieLens 20M's size: seconds and metrics."""
    options = ["--baselines", "false", "--interest.movies", "1000000"]
    summary = trained(data, place / "run", *SHORT_RUN, *options)
    lists = {name: summary["lists"][metric] for name, metric in METRICS.items()}
    return {"all_movies_20m": {"interest_seconds": summary["seconds"]["interest"], **lists}}


def evaluation_of_all(directory: Path) -> dict:
    """Seconds in which the lists of all users are scored against the test ratings, without reading them."""
    run = load_run(directory, World())
    assert isinstance(run, RatingRun)
    split = read_list_split(run.dataset, run.world, TEST, run.known_splits, liked_from(run.dataset, InterestOptions()))
    split = dataclasses.replace(split, lengths=(10, 20, 50, 100))
    lists = RatingLists(run.model, run.embed(), run.interest)
    lists.measure(split.sampled(1000, key=1, first_row=0))
    started = time.perf_counter()
    count = lists.measure(split).count
    return {"evaluation_seconds_20m": time.perf_counter() - started, "evaluated_users_20m": count}


def of_lists(ratings: Path, name: str, seeds: int) -> dict:
    """Figures of rating runs: their lists next to others, and what interest changes of their error."""
    splits = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as directory:
            splits.append(measure(ratings, seed, Path(directory)))
        print(json.dumps(splits[-1]), flush=True)
    rows = ("ours", "popularity", "ease", "ease_with_validation", "by_rating")
    figures: dict = {}
    for key, metric in METRICS.items():
        figures[key] = {name: {row: float(np.mean([split[row][metric] for split in splits])) for row in rows}}
        over = {row: [split["ours"][metric] - split[row][metric] for split in splits] for row in rows[2:]}
        figures[f"{key}_gain"] = {
            name: {
                row: {"mean": float(np.mean(gains)), "standard_error": standard_error(gains)}
                for row, gains in over.items()
            }
        }
    figures["rmse_change"] = max((value for split in splits for value in split["rmse"].values()), key=abs)
    figures["splits"] = {name: splits}
    return figures


def at_20m(data: Path, place: Path) -> dict:
    """Seconds of interest, of the top 20 of all users, and of all metrics of their lists, at MovieLens 20M's size."""
    summary = trained(data, place / "run", *SHORT_RUN)
    command = [sys.executable, "-m", "gnnrec", "recommend", str(place / "run"), "--all", "--top", "20"]
    started = time.perf_counter()
    subprocess.run(
        [*command, "--out", str(place / "lists"), "--device", "cpu"], check=True, env=record.environment_with()
    )
    seconds = time.perf_counter() - started
    return {
        "interest_seconds_20m": summary["seconds"]["interest"],
        "top20_seconds_20m": seconds,
        **evaluation_of_all(place / "run"),
        "of_20m": {"chosen": summary["chosen"], "lists": summary["lists"], "seconds": summary["seconds"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--strong-splits", type=int, default=20, help="splits with whole users held out")
    parser.add_argument("--large", type=Path, help="prepared dataset of MovieLens 20M's size, for times")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="parts to measure, by default all")
    options = parser.parse_args()
    large = {"large", "all-movies"}
    if large & set(options.parts) and options.large is None:
        parser.error("--large DATA is missing: a prepared dataset of MovieLens 20M's size")
    if not large.issuperset(options.parts) and (options.ratings is None or options.name is None):
        parser.error("--ratings and --name are missing")
    if "lists" in options.parts:
        add("lists", of_lists(options.ratings, options.name, options.splits))
    if "next-movie" in options.parts:
        add("next-movie", next_movie.figures(options.ratings, options.name, options.splits))
    if "strong" in options.parts:
        add("strong", strong.figures(options.ratings, options.name, options.strong_splits, synthetic=1))
    if "large" in options.parts:
        with tempfile.TemporaryDirectory() as directory:
            add("large", at_20m(options.large, Path(directory)))
    if "all-movies" in options.parts:
        with tempfile.TemporaryDirectory() as directory:
            add("all-movies", with_all_movies(options.large, Path(directory)))


def add(part: str, figures: dict) -> None:
    print(record.add("lists", part, "benchmarks.lists", figures), flush=True)


if __name__ == "__main__":
    main()
