"""Features of movies and users: error and lists for movies without ratings, warm quality, and cost.

    python -m benchmarks.features --ratings ml-latest-small --large DATA --large-ratings RATINGS

Parts, each written to ``features.json`` when it is measured, as means over three seeds:

- ``cold``: a tenth of the movies of ``--ratings`` held out, with titles, genres and years as features. Error on them
  next to the biases, and to the best ridge on the same features.
- ``lists``: the held-out movies in rankings, next to popularity by category, nearest neighbours and a ridge.
- ``warm``: random splits, with and without features.
- ``synthetic``: movies, and users, whose factors depend on known features; ``share`` is how far features go from
  biases alone to the true model.
- ``cost``: steps of ``ml20m_full`` and preparation, with 384 dimensions of text and 20 numbers of users.
- ``bound``: the share of such a step that the matrix products of features alone take.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import feature_cost, feature_data, record
from benchmarks.train_default import trained
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, PreparedDataset

PARTS = ["cold", "lists", "warm", "synthetic", "cost", "bound"]
WITHOUT_INTEREST = ("--interest.enabled", "false")


def cold(ratings: Path, seed: int, place: Path) -> dict:
    """Test RMSE on held-out movies of ours and of all baselines, none of which knows the time of a rating."""
    prepare(place / "data", _with_movies(ratings, seed, "cold-movies"))
    summary = trained(place / "data", place / "run", *WITHOUT_INTEREST, "--seed", str(seed))
    ours = {"ours": summary["test_rmse_without_time"], "ours with time": summary["test_rmse"]}
    return ours | _of_baselines(summary, "test_rmse")


def lists(ratings: Path, seed: int, place: Path) -> dict:
    """Test NDCG@20 of held-out movies of ours and of all baselines."""
    prepare(place / "data", _with_movies(ratings, seed, "cold-movies"))
    summary = trained(place / "data", place / "run", "--objective", "ranking", "--seed", str(seed))
    return {"ours": summary["test_ndcg@20"]} | _of_baselines(summary, "test_ndcg@20")


def warm(ratings: Path, seed: int, place: Path) -> dict:
    """Test RMSE of random splits with and without features."""
    prepare(place / "data", _with_movies(ratings, seed, "random"))
    words = (*WITHOUT_INTEREST, "--seed", str(seed), "--baselines", "false")
    found = {}
    for row, options in (("with", ()), ("without", ("--model.features", "false"))):
        summary = trained(place / "data", place / row, *words, *options)
        found[row] = {name: summary[name] for name in ("test_rmse", "test_rmse_without_time", "rmse_by_movie_ratings")}
    return found


def synthetic(side: str, seed: int, place: Path) -> dict:
    """Test RMSE on held-out nodes of the side with features: of biases, ours, and the true model."""
    scores = feature_data.write(place, side, seed)
    tables = {f"{side}_features": [place / "features.csv"]}
    prepare(
        place / "data", PrepareOptions(ratings=place / "ratings.csv", protocol=f"cold-{side}s", seed=seed, **tables)
    )
    summary = trained(place / "data", place / "run", *WITHOUT_INTEREST, "--seed", str(seed))
    data = PreparedDataset(place / "data")
    test = data.split[:] == TEST
    user = np.repeat(data.users["user"].to_numpy(), np.diff(data.user_ptr))[test]
    pairs = pd.MultiIndex.from_arrays([user, data.movies["movie"].to_numpy()[data.movie[:][test]]])
    true = scores.set_index(["userId", "movieId"])["score"].loc[pairs].clip(0.5, 5)
    found = {"biases": summary["baselines"]["biases"]["test_rmse"], "ours": summary["test_rmse"]}
    found["true_model"] = float(np.sqrt(np.mean((true - data.rating[:][test]) ** 2)))
    return found | {"share": (found["biases"] - found["ours"]) / (found["biases"] - found["true_model"])}


def _with_movies(ratings: Path, seed: int, protocol: str) -> PrepareOptions:
    table = ratings / "movies.csv"
    return PrepareOptions(ratings=ratings, movies=table, movie_features=[table], protocol=protocol, seed=seed)


def _of_baselines(summary: dict, metric: str) -> dict:
    return {name: row[metric] for name, row in summary["baselines"].items() if metric in row}


def of_seeds(measure: Callable[..., dict], seeds: int, *arguments: object) -> list[dict]:
    """Measures in a temporary directory for each seed."""
    found = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as place:
            found.append(measure(*arguments, seed, Path(place)))
        print(measure.__name__, seed, json.dumps(found[-1]), flush=True)
    return found


def mean_rows(seeds: list[dict]) -> dict[str, float]:
    """Means over seeds of the rows that all have."""
    return {row: float(np.mean([found[row] for found in seeds])) for row in seeds[0]}


def part(name: str, options: argparse.Namespace) -> dict:
    """Figures of one part."""
    if name == "cold":
        seeds = of_seeds(cold, options.seeds, options.ratings)
        rows = mean_rows(seeds)
        return {"cold_rmse": rows, "cold_rmse_gain": 1 - rows["ours"] / rows["biases"], "of_cold": seeds}
    if name == "lists":
        seeds = of_seeds(lists, options.seeds, options.ratings)
        rows = mean_rows(seeds)
        ratio = rows["ours"] / rows["category popularity"]
        return {"cold_ndcg20": rows, "cold_ndcg_ratio": ratio, "of_lists": seeds}
    if name == "warm":
        seeds = of_seeds(warm, options.seeds, options.ratings)
        changes = {
            metric: [found["with"][metric] - found["without"][metric] for found in seeds]
            for metric in ("test_rmse", "test_rmse_without_time")
        }
        means = {metric: float(np.mean(change)) for metric, change in changes.items()}
        return {"warm_rmse_change": means["test_rmse"], "warm_changes": means, "of_warm": seeds}
    if name == "synthetic":
        seeds_of = {side: of_seeds(synthetic, options.seeds, side) for side in ("movie", "user")}
        shares = {side: mean_rows(seeds)["share"] for side, seeds in seeds_of.items()}
        return {"synthetic_share": shares["movie"], "demographics_share": shares["user"], "of_synthetic": seeds_of}
    if name == "bound":
        return feature_cost.bound(options.large, json.loads((record.RESULTS / "features.json").read_text()))
    with tempfile.TemporaryDirectory() as place:
        return feature_cost.figures(options.large, options.large_ratings, options.rounds, Path(place))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path, help="directory with ratings.csv and movies.csv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--large", type=Path, help="prepared dataset of MovieLens 20M's size without features")
    parser.add_argument("--large-ratings", type=Path, help="its ratings")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the part cost")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="parts to measure, by default all")
    options = parser.parse_args()
    if {"cold", "lists", "warm"} & set(options.parts) and options.ratings is None:
        parser.error("--ratings is missing")
    if {"cost", "bound"} & set(options.parts) and None in (options.large, options.large_ratings):
        parser.error("--large and --large-ratings are missing")
    for name in options.parts:
        print(record.add("features", name, "benchmarks.features", part(name, options)), flush=True)


if __name__ == "__main__":
    main()
