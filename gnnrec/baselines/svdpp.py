"""SVD++ (Koren, "Factorization meets the neighborhood", KDD 2008, equation 15) over any number of ranks.

``r_um = mean + b_u + b_m + q_m . (p_u + |N(u)|^-1/2 sum_{j in N(u)} y_j)``, where N(u) are the movies that the user
rated in the fitted splits. As in the paper, the target rating itself is part of N(u).
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.descent import Adam, train_to_best_epoch, validation_error
from gnnrec.baselines.scoring import fitted_ratings
from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Targets, whole_graph
from gnnrec.graph.folds import Epoch, Step
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.kernels.pairs import pair_dots
from gnnrec.kernels.ragged import offsets
from gnnrec.models.message_sums import sum_values

#: Most epochs; the learning rate falls to zero over them.
EPOCHS = 30
#: Steps per epoch: each trains on a random twentieth of the ratings.
STEPS = 20
#: Highest learning rate.
LR = 0.02
#: Standard deviation of initial factors.
INIT_STD = 0.05
#: L2 of a bias, relative to half the squared error of one rating: the shrinkage of the closed-form biases.
BIAS_L2 = 5.0


@dataclasses.dataclass(frozen=True)
class SVDppSetting:
    """Settings that validation chooses.

    Attributes:
        dim: Factors of a row.
        l2: L2 of a row of p or q with one rating, relative to half the squared error of one rating.
        degree_power: A row with n ratings has ``l2 * n ** degree_power``: 1 is the paper's L2 per rating, 0 is one
            Gaussian prior for all rows.
        implicit_l2: L2 of a row of y; None omits y, which gives a biased matrix factorization.
        epochs: Epochs to train; None stops at the best epoch on validation.
    """

    dim: int
    l2: float
    degree_power: float
    implicit_l2: float | None
    epochs: int | None = None


class SVDpp:
    """The tables of SVD++ on one rank.

    Args:
        graph: The rank's graph. Every rank calls this.
        setting: Dimension and L2.
        seed: Seed of the initial factors.
    """

    def __init__(self, graph: RankGraph, setting: SVDppSetting, seed: int):
        self.graph, self.setting, self.seed = graph, setting, seed
        statistics = message_statistics(graph)
        self.messages, self.mean = whole_graph(graph, statistics).to_users, statistics.mean
        movies = torch.arange(graph.num_movies, device=graph.device)

        def rows(name: str, ids: Tensor) -> Tensor:
            return rng.normal_rows(rng.key(seed, "init", "SVD++", name), ids, setting.dim).to(graph.dtype)

        #: p [users, dim], q [movies, dim], user biases, movie biases and, unless it is omitted, y [movies, dim].
        self.tables = [
            rows("user", graph.user_rows) * INIT_STD,
            rows("movie", movies) * INIT_STD,
            statistics.user_bias.clone(),
            statistics.movie_bias.clone(),
        ]
        if setting.implicit_l2 is not None:
            self.tables.append(rows("implicit", movies) * INIT_STD)
        for table in self.tables:
            table.requires_grad_()
        users, movies = (
            setting.l2 * degree.clamp(min=1)[:, None] ** setting.degree_power
            for degree in (statistics.user_degree, statistics.movie_degree)
        )
        self.l2: list[Tensor | float] = [users, movies, BIAS_L2, BIAS_L2, setting.implicit_l2]

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Vectors whose dot product is the rating minus the mean: ``[users, dim + 2]``, ``[movies, dim + 2]``."""
        (user, movie, user_bias, movie_bias), implicit = self.tables[:4], self.tables[4:]
        for table in implicit:
            scale = self.messages.degree.clamp(min=1)[:, None] ** -0.5
            user = user + scale * sum_values(table, None, self.messages)
        return (
            torch.cat([user, user_bias[:, None], torch.ones_like(user_bias)[:, None]], 1),
            torch.cat([movie, torch.ones_like(movie_bias)[:, None], movie_bias[:, None]], 1),
        )

    @torch.no_grad()
    def predict(self, targets: Targets) -> Tensor:
        """Predicted ratings, not clipped, float ``[targets]``."""
        return pair_dots(*self.vectors(), targets.pointer, targets.movie) + self.mean

    def gradients(self, targets: Targets) -> list[Tensor]:
        """Gradients of half the mean squared error of all ranks' targets plus L2, for each of :attr:`tables`."""
        error = pair_dots(*self.vectors(), targets.pointer, targets.movie) + self.mean - targets.rating
        gradients = list(torch.autograd.grad(error.square().sum() / (2 * targets.count), self.tables))
        for position in range(len(gradients)):
            if position in (0, 2):  # a user is on one rank, movies are on all
                continue
            gradients[position] = self.graph.world.all_reduce_sum_(gradients[position].contiguous())
        edges = max(self.graph.num_edges_global, 1)
        with torch.no_grad():
            return [gradient + l2 / edges * table for gradient, l2, table in zip(gradients, self.l2, self.tables)]

    def train_epoch(self, number: int, optimizer: Adam) -> None:
        """Trains one pass over the ratings."""
        epoch = Epoch(self.graph, self.seed, number, STEPS)
        for index in range(epoch.num_steps):
            optimizer.step(self.gradients(self.targets(epoch, epoch.step(index))))

    def targets(self, epoch: Epoch, step: Step) -> Targets:
        """Target ratings of a step: those of its fold."""
        counts, edge = epoch.targets(step.fold)
        return Targets(offsets(counts), self.graph.movie[edge], self.graph.rating[edge], max(step.num_targets, 1))


def fit_svdpp(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    """Fits SVD++ by Adam up to the best epoch on validation, unless ``setting`` has the number of epochs."""
    options, graph = SVDppSetting(**setting), build_rank_graph(dataset, world, splits)
    model = SVDpp(graph, options, seed)
    optimizer = Adam(model.tables, LR, EPOCHS * STEPS)
    stops_early = options.epochs is None and VALIDATION not in splits
    epochs = train_to_best_epoch(
        model.tables,
        options.epochs or EPOCHS,
        lambda number: model.train_epoch(number, optimizer),
        validation_error(dataset, graph, model.predict) if stops_early else None,
    )
    return fitted_ratings(dataset, graph, model.predict, {"epochs": epochs})


#: Tried on ml-latest-small and on 600,000 synthetic ratings, on validation: 8 to 128 factors (64 .8220, 128 .8214;
#: 8 .7890, 64 .7953), L2 from half to three times these, implicit L2 from 5 to 300 (flat from 20 to 300, worse below),
#: leaving the ratings of a step out of N(u) (no difference, .8228 and .7906 with and without, and slower), dropout
#: (.8234, none .8244), 1 to 20 steps per epoch (.8246 to .8217), learning rates from .005 to .02.
GRID = tuple(
    {"dim": dim, "l2": l2, "degree_power": power, "implicit_l2": 30.0}
    for dim in (64, 16, 8)
    for l2, power in ((12.0, 0.0), (18.0, 0.0), (3.0, 0.25), (5.0, 0.25), (0.8, 0.5), (1.2, 0.5), (0.07, 1.0))
)
SVDPP = Baseline("SVD++", "rating", GRID, fit_svdpp)
