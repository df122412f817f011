"""Cost of users who were not in training: ``python -m benchmarks.cold_start RATINGS --seeds 3``.

A tenth of the users is removed from the data. One model is trained without them, and embeds them from their training
ratings (``gnnrec export --ratings``); another one is trained on all users. From their exports, both predict the same
test ratings of these users and rank all movies for them.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sklearn.metrics import ndcg_score

from benchmarks.record import write
from gnnrec.config.train_config import assigned_train_config
from gnnrec.data.formats import detect_layout
from gnnrec.data.layout import RATINGS_ROLES
from gnnrec.data.locate import locate_ratings
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.data.read import read_ratings
from gnnrec.distributed.world import World
from gnnrec.inference.export import ExportOptions, export
from gnnrec.training.run import train

#: Share of users that are removed, and movies that count in a ranking.
SHARE, TOP, RELEVANT = 0.1, 10, 4.0


@dataclasses.dataclass
class Exported:
    """Vectors by raw id."""

    manifest: dict
    users: pd.DataFrame
    movies: pd.DataFrame

    @staticmethod
    def read(directory: Path, manifest: dict) -> Exported:
        frames = [pq.read_table(directory / kind).to_pandas() for kind in ("users", "movies")]
        return Exported(manifest, frames[0].set_index("user"), frames[1].set_index("movie"))

    def scores(self, user: object) -> pd.Series:
        """Scores of all movies for one user, by raw id."""
        row, movies = self.users.loc[user], self.movies
        dots = np.stack(movies["embedding"]) @ row["embedding"]
        return pd.Series(self.manifest["offset"] + row["bias"] + movies["bias"] + dots, movies.index)


def ratings_of(dataset: PreparedDataset) -> pd.DataFrame:
    """All ratings under raw ids, with their splits."""
    user = np.repeat(dataset.users["user"].to_numpy(), np.diff(dataset.user_ptr))
    frame = pd.DataFrame({"userId": user, "movieId": dataset.movies["movie"].to_numpy()[dataset.movie]})
    frame["rating"], frame["split"] = dataset.rating, dataset.split
    if dataset.timestamp is not None:
        frame["timestamp"] = dataset.timestamp
    return frame


def measure(ratings: Path, objective: str, settings: list[str], seed: int, place: Path) -> dict[str, float]:
    """Measures errors and rankings of the two models on the same users."""
    everything = PreparedDataset(prepared(ratings, place / "everything", seed))
    frame = ratings_of(everything)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(everything.users["user"], round(SHARE * everything.num_users), replace=False)
    new = frame["userId"].isin(chosen)
    columns = [name for name in frame.columns if name != "split"]
    frame[~new][columns].to_csv(place / "without.csv", index=False)
    shown = frame[new & (frame["split"] == TRAIN)]
    shown[columns].to_csv(place / "new.csv", index=False)
    found = {}
    data = {"seen": place / "everything", "new": prepared(place / "without.csv", place / "without", seed)}
    for name, directory in data.items():
        run = place / f"run-{name}"
        config = assigned_train_config(
            None, [f"objective={objective}", f"seed={seed}", "wandb.mode=disabled", "baselines=false", *settings],
            data=directory, run_dir=run,
        )  # fmt: skip
        train(config, World())
        options = ExportOptions(place / f"export-{name}", ratings=place / "new.csv" if name == "new" else None)
        found[name] = Exported.read(options.out, export(run, options, World()))
    test = frame[new & (frame["split"] == TEST)]
    test = test[test["movieId"].isin(found["new"].movies.index)]
    return {
        f"{name}_{figure}": value
        for name, exported in found.items()
        for figure, value in scored(exported, objective, test, shown).items()
    } | {"users": int(test["userId"].nunique()), "test_ratings": len(test)}


def prepared(ratings: Path, out: Path, seed: int) -> Path:
    prepare(out, PrepareOptions(ratings=ratings, seed=seed))
    return out


def scored(exported: Exported, objective: str, test: pd.DataFrame, shown: pd.DataFrame) -> dict[str, float]:
    """RMSE of clipped scores, and NDCG of movies that were not shown (scikit-learn's, binary relevance)."""
    errors, gains = [], []
    seen = shown.groupby("userId")["movieId"].agg(list)
    for user, rows in test.groupby("userId"):
        scores = exported.scores(user)
        if objective == "rating":
            predicted = scores[rows["movieId"]].clip(*exported.manifest["rating_scale"])
            errors.append((predicted.to_numpy() - rows["rating"].to_numpy()) ** 2)
        liked = rows.loc[rows["rating"] >= RELEVANT, "movieId"]
        if len(liked) and objective == "ranking":
            left = scores.drop(seen.get(user, []), errors="ignore")
            gains.append(ndcg_score([left.index.isin(liked)], [left.to_numpy()], k=TOP))
    if objective == "rating":
        return {"rmse": float(np.concatenate(errors).mean() ** 0.5)}
    return {f"ndcg@{TOP}": float(np.mean(gains))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ratings", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], help="options of the rating model, such as model.layers=1")
    parser.add_argument("--name", default="cold_start", help="name of the result file")
    arguments = parser.parse_args()
    layout = detect_layout(locate_ratings(arguments.ratings), RATINGS_ROLES, dict.fromkeys(RATINGS_ROLES))
    result: dict = {"ratings": len(read_ratings([layout]).rating), "share_of_users": SHARE, "runs": []}
    for seed in range(arguments.seeds):
        row: dict = {"seed": seed}
        for objective, settings in (("rating", arguments.set), ("ranking", [])):
            with tempfile.TemporaryDirectory() as place:
                row |= measure(arguments.ratings, objective, settings, seed, Path(place))
        print(row, flush=True)
        result["runs"].append(row)
    for name in ("seen_rmse", "new_rmse", f"seen_ndcg@{TOP}", f"new_ndcg@{TOP}"):
        values = [row[name] for row in result["runs"]]
        result[name] = {"mean": float(np.mean(values)), "deviation": float(np.std(values))}
    print(write(arguments.name, "benchmarks.cold_start", result))


if __name__ == "__main__":
    main()
