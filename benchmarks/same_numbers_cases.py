"""Lists the runs whose numbers are recorded: every published configuration, and variants."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

USERS, MOVIES, RATINGS = 400, 150, 12_000

#: Name of a prepared dataset -> options of ``gnnrec prepare``.
PREPARED: dict[str, dict[str, str]] = {
    "random": {},
    "temporal": {"protocol": "temporal"},
    "strong": {"protocol": "strong", "test": "0.2", "validation": "0.2"},
    "leave-last": {"protocol": "leave-last"},
    "metis": {"order": "metis"},
    "stream": {"engine": "stream", "memory": "1"},
}

_RANKING_SPLIT = "strong"


@dataclasses.dataclass(frozen=True)
class Case:
    """One training run and what is computed from it.

    Attributes:
        name: Its name; the number of ranks is added to it.
        config: Name of the file in ``configs/``.
        ranks: Number of processes.
        data: Name of the prepared dataset.
        options: Dotted option -> value, over those of the file.
        steps: Optimizer steps; 0 for all of the epochs.
        resume_ranks: Number of processes that resume the run; 0 for a run that is not resumed.
        resume_step: The step that it is resumed from.
        export: Write embeddings, on as many ranks.
        export_ratings: Also write embeddings for the users of the raw ratings file.
        recommend: Write recommendations for all users from the ``run`` or the ``export``; empty for none.
        torchrun: Train with torchrun, however the others are started.
    """

    name: str
    config: str
    ranks: int
    data: str = "random"
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    steps: int = 3
    resume_ranks: int = 0
    resume_step: int = 1
    export: bool = False
    export_ratings: bool = False
    recommend: str = ""
    torchrun: bool = False

    @property
    def label(self) -> str:
        """The name with the number of ranks."""
        return f"{self.name}-{self.ranks}" + (f"-{self.resume_ranks}" if self.resume_ranks else "")


def published(configs: Path) -> list[Case]:
    """One and two ranks of every training configuration in a directory.

    Raises:
        ValueError: There is none.
    """
    contents = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(configs.glob("*.yaml"))}
    # A sweep of Weights & Biases names the program that it starts.
    contents = {name: content for name, content in contents.items() if "program" not in content}
    if not contents:
        raise ValueError(f"{configs} has no configuration of training")
    return [
        Case(
            name,
            name,
            ranks,
            _RANKING_SPLIT if content.get("objective") == "ranking" else "random",
            {"baselines": "true" if name in ("rating", "ranking") else "false"},
            steps=2,
            export=ranks == 1 or name in ("rating", "ranking"),
            recommend={("rating", 2): "run", ("ranking", 1): "export", ("ranking", 2): "run"}.get((name, ranks), ""),
            torchrun=name == "rating",
        )
        for name, content in contents.items()
        for ranks in (1, 2)
    ]


#: Two steps a pass over the users: the third step begins the second pass.
_SAMPLED = {"loader.seed_users": "200", "loader.movies_per_user": "10", "loader.raters_per_movie": "10"}
_SAGE, _GCN, _GAT = ({"model.architecture": name} for name in ("sage", "gcn", "gat"))
_TWO_LAYERS = {"model.layers": "2"}
_TOUCHED = {"loader.movie_rows": "touched"}
_FEW_USERS = {"ranking.users_a_step": "100"}
_RANDOM_START = {"ranking.start": "random"}
#: Records that end between epochs and between passes.
_EPOCHS = {"loader.folds": "2", "optimizer.epochs": "3", "log_every": "3"}


def variants() -> list[Case]:
    """Runs that reach code which the published configurations on small data leave out."""
    return [
        Case("whole-gcn", "rating", 1, options=_GCN),
        Case("whole-gcn", "rating", 2, options=_GCN),
        Case("whole-gat", "rating", 1, options=_GAT, recommend="export", export=True),
        Case("whole-gat", "rating", 2, options=_GAT, export=True),
        Case("two-layers-sage", "rating", 1, options=_TWO_LAYERS),
        Case("two-layers-sage", "rating", 2, options=_TWO_LAYERS, export=True),
        Case("two-layers-gcn", "rating", 2, options=_GCN | _TWO_LAYERS),
        Case("sampled-sage", "rating", 1, options=_SAMPLED),
        Case("sampled-sage", "rating", 2, options=_SAMPLED),
        Case("sampled-gcn", "rating", 2, options=_SAMPLED | _GCN),
        Case("sampled-gat-two-layers", "rating", 1, options=_SAMPLED | _GAT | _TWO_LAYERS),
        Case("sampled-gat-two-layers", "rating", 2, options=_SAMPLED | _GAT | _TWO_LAYERS),
        Case("no-control-variate", "rating", 2, options=_SAMPLED | _GAT | {"loader.control_variate": "false"}),
        Case("touched", "rating", 1, options=_SAMPLED | _TOUCHED),
        Case("touched", "rating", 2, options=_SAMPLED | _TOUCHED),
        Case("touched-two-layers", "rating", 2, options=_SAMPLED | _TOUCHED | _TWO_LAYERS),
        Case("rows-host", "rating", 1, options=_SAMPLED | {"user_rows": "host"}),
        Case("rows-host", "rating", 2, options={"user_rows": "host"}),
        Case("rows-file", "rating", 1, options={"user_rows": "file"}),
        Case("rows-file", "rating", 2, options=_SAMPLED | {"user_rows": "file"}),
        Case("head-mlp", "rating", 1, options={"model.head": "mlp"}),
        Case("head-mlp", "rating", 2, options={"model.head": "mlp"}, export=True, recommend="export"),
        Case("resumed", "rating", 1, options=_SAMPLED, resume_ranks=1),
        Case("resumed", "rating", 2, options=_SAMPLED, resume_ranks=2),
        Case("resumed", "rating", 1, options=_SAMPLED | {"user_rows": "host"}, resume_ranks=2),
        Case("resumed-whole", "rating", 2, options=_GAT, resume_ranks=1),
        Case("epochs", "rating", 1, options=_EPOCHS | {"validate_every": "2"}, steps=0, resume_ranks=1, resume_step=3),
        Case("epochs-sampled", "rating", 2, options=_EPOCHS | _SAMPLED, steps=0, resume_ranks=2, resume_step=5),
        Case(
            "epochs-ranking",
            "ranking",
            2,
            _RANKING_SPLIT,
            _FEW_USERS | {"optimizer.epochs": "2", "log_every": "3"},
            steps=0,
            resume_ranks=1,
            resume_step=2,
        ),
        Case("refit", "rating", 1, options={"refit": "true"}),
        Case("refit", "rating", 2, options={"refit": "true"}),
        Case(
            "no-layers-sgd", "rating", 2, options={"model.layers": "0", "optimizer.name": "sgd", "optimizer.lr": "0.1"}
        ),
        Case(
            "inductive",
            "rating",
            1,
            options={"model.user_ids": "false", "model.genres": "false", "model.time": "false"},
            export_ratings=True,
        ),
        Case("temporal", "rating", 2, "temporal", export_ratings=True),
        Case("ranking-leave-last", "ranking", 1, "leave-last", {"baselines": "true"}),
        Case("ranking-leave-last", "ranking", 2, "leave-last", _FEW_USERS, export=True),
        Case("ranking-random-split", "ranking", 1, "random", _FEW_USERS),
        Case("ranking-refit", "ranking", 2, _RANKING_SPLIT, {"refit": "true"}),
        Case("ranking-softmax", "ranking", 1, _RANKING_SPLIT, _FEW_USERS | {"ranking.loss": "softmax"}),
        Case("ranking-sampled-softmax", "ranking", 2, _RANKING_SPLIT, _FEW_USERS | {"ranking.loss": "sampled_softmax"}),
        Case("ranking-bpr", "ranking", 2, _RANKING_SPLIT, _FEW_USERS | _RANDOM_START | {"ranking.loss": "bpr"}),
        Case("ranking-resumed", "ranking", 1, _RANKING_SPLIT, _FEW_USERS, resume_ranks=2),
    ]


def write_raw(directory: Path) -> None:
    """Writes ``ratings.csv`` and ``movies.csv`` in the layout of GroupLens, with times, titles and genres.

    The files are the same for every version of the program: nothing of it is called.
    """
    generator = np.random.default_rng(20_260_101)
    pairs = generator.choice(USERS * MOVIES, RATINGS, replace=False, p=_popularity(generator))
    users, movies = pairs // MOVIES, pairs % MOVIES
    taste, kinds = generator.normal(size=(USERS, 4)), generator.normal(size=(MOVIES, 4))
    score = 3.4 + 0.5 * (taste[users] * kinds[movies]).sum(1) + generator.normal(scale=0.5, size=RATINGS)
    ratings = pd.DataFrame(
        {
            "userId": 1_000 + users,
            "movieId": 7 * movies + 3,
            "rating": np.clip(np.round(2 * score) / 2, 0.5, 5.0),
            "timestamp": 900_000_000 + generator.integers(0, 300_000_000, RATINGS) // 60 * 60,
        }
    )
    names = np.array(["Action", "Comedy", "Drama", "Horror", "Romance", "War"])
    genres = [
        "|".join(names[np.sort(generator.choice(len(names), 1 + movie % 3, replace=False))]) for movie in range(MOVIES)
    ]
    titles = [f"Movie {movie} ({1950 + movie % 60})" for movie in range(MOVIES)]
    directory.mkdir(parents=True)
    ratings.to_csv(directory / "ratings.csv", index=False)
    catalogue = pd.DataFrame({"movieId": 7 * np.arange(MOVIES) + 3, "title": titles, "genres": genres})
    catalogue.to_csv(directory / "movies.csv", index=False)


def _popularity(generator: np.random.Generator) -> np.ndarray:
    """Probability of each pair of a user and a movie, float64 ``[users * movies]``; few are active or popular."""
    users = generator.permutation(1 / (20 + np.arange(USERS)))
    movies = generator.permutation(1 / (10 + np.arange(MOVIES)))
    weight = np.outer(users, movies).ravel()
    return weight / weight.sum()
