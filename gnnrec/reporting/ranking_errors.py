"""Quality of rankings by the number of liked movies that users are embedded from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.baselines.popularity import popularity_scorer
from gnnrec.data.prepared import message_splits
from gnnrec.evaluation.ranking import OnUsers
from gnnrec.evaluation.ranking_split import RankingSplit, only_users
from gnnrec.evaluation.rating_buckets import EDGES
from gnnrec.inference.ranking_run import RankingRun
from gnnrec.reporting import charts
from gnnrec.reporting.content import Figure, Section
from gnnrec.reporting.opened_run import OpenedRun
from gnnrec.reporting.rating_errors import bucket_name

#: Maximum number of users: all movies are scored twice for each.
MOST_USERS = 5000
_METRICS = {"recall": (0, "Recall@20"), "ndcg": (2, "NDCG@100")}


def ranking_errors(run: OpenedRun) -> list[Section]:
    """Shows Recall@20 and NDCG@100 by the number of known liked movies of a user, next to popularity."""
    loaded, config = run.loaded, run.loaded.config
    assert isinstance(loaded, RankingRun)
    whole = loaded.held_out(run.split)
    split = sample_users(whole, MOST_USERS, config.seed)
    by_user = figures_by_user(run, split)
    if by_user.empty:
        return []
    edges = np.array(EDGES)
    by_user["bucket"] = np.digitize(by_user["shown"], edges) - 1
    tops = [int(edge) - 1 for edge in edges[1:]] + [None]
    names = {number: bucket_name({"from": EDGES[number], "to": tops[number]}) for number in range(len(EDGES))}
    grouped = by_user.groupby(["series", "bucket"], sort=False)
    counts = by_user[by_user["series"] == "this model"].groupby("bucket").size()
    table = pd.DataFrame({"bucket": [names[bucket] for bucket in counts.index], "count": counts.to_numpy()})
    figures = []
    for key, (_, title) in _METRICS.items():
        means = grouped[key].mean().reset_index().sort_values("bucket", kind="stable")
        means = pd.DataFrame({"bucket": means["bucket"].map(names), "value": means[key], "series": means["series"]})
        means = means.sort_values("series", key=lambda names: names != "this model", kind="stable")
        spec = charts.lines_over_counts(means, table, "known liked movies of the user", title, "users")
        figures.append(Figure(f"{key}_by_user_ratings", f"{title} by known liked movies", "", spec, height=300))
    users = int(counts.sum())
    sampled = "" if split is whole else f" These are {users:,} users drawn at random."
    text = (
        f"Quality of the rankings of {run.split_name} movies, by the number of liked movies that the model knows of a "
        f"user. Gray bars: users in each bucket. Popularity recommends the same movies to all users.{sampled}"
    )
    return [Section("fails", "Where it fails", text, figures)]


def figures_by_user(run: OpenedRun, split: RankingSplit) -> pd.DataFrame:
    """Returns ``user`` (row), ``shown`` (number of known liked movies), ``recall``, ``ndcg`` and ``series``."""
    loaded = run.loaded
    assert isinstance(loaded, RankingRun)
    splits = message_splits(loaded.config.refit)
    popular = popularity_scorer(loaded.dataset, loaded.world, splits)
    shown = split.shown.user_ptr.diff()
    tables = []

    def collect(series: str) -> OnUsers:
        def take(users: Tensor, figures: Tensor) -> None:
            columns = {"user": users.cpu(), "shown": shown[users].cpu()}
            columns |= {name: figures[:, column].cpu() for name, (column, _) in _METRICS.items()}
            tables.append(pd.DataFrame(columns).assign(series=series))

        return take

    with torch.no_grad():
        split.rank(loaded.scorer(run.split), collect("this model"))
        split.rank(popular, collect("popularity"))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def sample_users(split: RankingSplit, most: int, seed: int) -> RankingSplit:
    """Restricts the targets of a split to at most ``most`` users, drawn at random."""
    users = split.targets.user_ptr.diff().nonzero().squeeze(1)
    if len(users) <= most:
        return split
    drawn = users[rng.permutation(rng.key(seed, "report"), users)[:most]]
    chosen = torch.zeros(split.targets.num_users, dtype=torch.bool, device=users.device)
    chosen[drawn] = True
    return dataclasses.replace(split, targets=only_users(split.targets, chosen))
