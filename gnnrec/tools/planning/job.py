"""What is to be trained, and on how many ranks: the numbers that every formula of a plan starts from."""

from __future__ import annotations

import dataclasses
import math

from gnnrec.graph.options import LoaderOptions
from gnnrec.models.options import ModelOptions


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """One training run, in counts. What a rank has is a mean over ranks: shards hold about equal numbers of ratings.

    Attributes:
        users: Users of all ranks.
        movies: Movies, all of them on every rank.
        ratings: Training ratings of all ranks.
        ranks: Ranks.
        model: Options of the model.
        loader: Options of the loader.
        levels: Rating levels.
        genres: Genres that are features of movies; 0 for none.
        movie_bins: Half bins of time of a movie (:class:`gnnrec.kernels.edges.TimeBins`); 0 where time plays no part.
        movies_drawn: Movies drawn for a user in the mean; None takes all users to have enough of them.
        raters_drawn: Raters drawn for a movie in the mean; None likewise.
    """

    users: int
    movies: int
    ratings: int
    ranks: int = 1
    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    loader: LoaderOptions = dataclasses.field(default_factory=LoaderOptions)
    levels: int = 10
    genres: int = 20
    movie_bins: int = 41
    movies_drawn: float | None = None
    raters_drawn: float | None = None

    @property
    def local_users(self) -> float:
        """Users of a rank."""
        return self.users / self.ranks

    @property
    def local_ratings(self) -> float:
        """Training ratings of a rank."""
        return self.ratings / self.ranks

    @property
    def slices(self) -> int:
        """Steps of a pass over the users (:class:`gnnrec.graph.folds.Epoch`)."""
        return math.ceil(self.users / self.loader.seed_users) if self.loader.seed_users > 0 else 1

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.loader.folds * self.slices

    @property
    def carried(self) -> float:
        """Share of the ratings that carry messages: those of other folds that dropout leaves in."""
        return (1 - 1 / self.loader.folds) * (1 - self.model.message_dropout)

    @property
    def pass_messages(self) -> float:
        """Messages of a rank in one direction, over whole neighbourhoods."""
        return self.local_ratings * self.carried

    @property
    def targets(self) -> float:
        """Supervised ratings of a rank in a step."""
        return self.local_ratings / self.steps

    @property
    def seeds(self) -> float:
        """Seed users of a rank in a step."""
        return self.local_users / self.slices

    @property
    def rater_draws(self) -> float:
        """Ratings of a rank drawn for the neighbourhoods of movies; 0 where none are drawn."""
        if not self.loader.samples:
            return 0.0
        each = self.ratings / self.movies
        if self.loader.raters_per_movie >= 0:
            each = min(self.loader.raters_per_movie, each) if self.raters_drawn is None else self.raters_drawn
        return self.movies * each / self.ranks

    @property
    def batch_users(self) -> float:
        """Users of a rank in a step: seeds, and whoever was drawn as a rater.

        Draws are taken to fall on users independently: ``n`` draws among ``u`` users leave out ``u exp(-n / u)``.
        """
        if not self.loader.samples:
            return self.local_users
        others = self.local_users - self.seeds
        return self.seeds + others * -math.expm1(-self.rater_draws / self.local_users)

    @property
    def movie_draws(self) -> float:
        """Ratings of a rank drawn for the neighbourhoods of users; 0 where none are drawn."""
        if not self.loader.samples:
            return 0.0
        each = self.ratings / self.users
        if self.loader.movies_per_user >= 0:
            each = min(self.loader.movies_per_user, each) if self.movies_drawn is None else self.movies_drawn
        # One layer needs the movies of seeds alone.
        return each * (self.batch_users if self.model.layers > 1 else self.seeds)

    @property
    def step_messages(self) -> tuple[float, float]:
        """Messages of a rank in a step, to users and to movies."""
        if not self.loader.samples:
            return self.pass_messages, self.pass_messages
        return self.movie_draws * self.carried, self.rater_draws * self.carried

    @property
    def control_variate(self) -> bool:
        """Sums over whole neighbourhoods are taken once a pass."""
        return self.loader.samples and self.loader.control_variate and self.model.layers > 0

    @property
    def table_width(self) -> int:
        """Numbers of a movie in its tables (:class:`gnnrec.models.tables.NodeTables`)."""
        return _table_width(self.model, self.model.movie_ids)

    @property
    def user_width(self) -> int:
        """Numbers of a user in its tables."""
        return _table_width(self.model, self.model.user_ids)


def _table_width(model: ModelOptions, ids: bool) -> int:
    """Two source tables where there are messages, an id table, a bias."""
    tables = (2 if model.layers else 0) + (1 if ids or not model.layers else 0)
    return tables * model.dim + 1
