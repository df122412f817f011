"""A training job as counts, the input of all formulas of a plan."""

from __future__ import annotations

import dataclasses
import math

from gnnrec.graph.options import LoaderOptions
from gnnrec.models.cold_rows import LANDMARKS
from gnnrec.models.interest_options import InterestOptions
from gnnrec.models.options import ModelOptions


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """A training run as counts. Counts of a rank are means over ranks, since shards have similar numbers of ratings.

    Attributes:
        users: Users of all ranks.
        movies: Movies, all of them on every rank.
        ratings: Training ratings of all ranks.
        ranks: Ranks.
        model: Options of the model.
        loader: Options of the loader.
        interest: Options of interest, which is fitted after training.
        wire: Type of sums of messages and gradients between ranks: float32 or bf16.
        levels: Rating levels.
        genres: Genres that are features of movies; 0 for none.
        movie_columns: Columns of the features of movies; 0 for none.
        user_columns: Columns of the features of users; 0 for none.
        movie_bins: Half bins of time of a movie (:class:`gnnrec.kernels.edges.TimeBins`); 0 without temporal bias.
        rated_years: Share of the half bins of movies that have a training rating.
        movies_drawn: Mean number of movies sampled for a user; None assumes that all users have enough.
        raters_drawn: Mean number of raters sampled for a movie; None likewise.
    """

    users: int
    movies: int
    ratings: int
    ranks: int = 1
    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    loader: LoaderOptions = dataclasses.field(default_factory=LoaderOptions)
    interest: InterestOptions = dataclasses.field(default_factory=InterestOptions)
    wire: str = "float32"
    levels: int = 10
    genres: int = 20
    movie_columns: int = 0
    user_columns: int = 0
    movie_bins: int = 41
    rated_years: float = 0.5
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
    def exchanged_years(self) -> float:
        """Half bins of movies whose sums ranks exchange."""
        return min(self.rated_years * self.movies * self.movie_bins, self.ratings)

    @property
    def fold_groups(self) -> list[range]:
        """Groups of folds whose biases are computed together (:func:`gnnrec.graph.fold_biases.fold_groups`)."""
        from gnnrec.graph.fold_biases import fold_groups

        return fold_groups(self.loader.folds, 2 * 4 * self.exchanged_years)

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
        """Share of the ratings that carry messages: those of other folds, after message dropout."""
        return (1 - 1 / self.loader.folds) * (1 - self.model.message_dropout)

    @property
    def pass_messages(self) -> float:
        """Messages of a rank in one direction, over whole neighborhoods."""
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
        """Ratings of a rank sampled for the neighborhoods of movies; 0 without sampling."""
        if not self.loader.samples:
            return 0.0
        degree = self.ratings / self.movies
        if self.loader.raters_per_movie >= 0:
            degree = min(self.loader.raters_per_movie, degree) if self.raters_drawn is None else self.raters_drawn
        return self.movies * degree / self.ranks

    @property
    def batch_users(self) -> float:
        """Users of a rank in a step: seed users and sampled raters.

        Samples are assumed to be independent: ``n`` samples from ``u`` users miss ``u exp(-n / u)`` users.
        """
        if not self.loader.samples:
            return self.local_users
        others = self.local_users - self.seeds
        return self.seeds + others * -math.expm1(-self.rater_draws / self.local_users)

    @property
    def movie_draws(self) -> float:
        """Ratings of a rank sampled for the neighborhoods of users; 0 without sampling."""
        if not self.loader.samples:
            return 0.0
        degree = self.ratings / self.users
        if self.loader.movies_per_user >= 0:
            degree = min(self.loader.movies_per_user, degree) if self.movies_drawn is None else self.movies_drawn
        # One layer needs only the movies of seed users.
        return degree * (self.batch_users if self.model.layers > 1 else self.seeds)

    @property
    def step_messages(self) -> tuple[float, float]:
        """Messages of a rank in a step, to users and to movies."""
        if not self.loader.samples:
            return self.pass_messages, self.pass_messages
        return self.movie_draws * self.carried, self.rater_draws * self.carried

    @property
    def control_variate(self) -> bool:
        """Whether sums over whole neighborhoods are computed once a pass."""
        return self.loader.samples and self.loader.control_variate and self.model.layers > 0

    @property
    def feature_weights(self) -> int:
        """Number of weights of features: genres, columns of movies, columns of users."""
        return (self.genres + self.movie_columns) * self.table_width + self.user_columns * self.user_width

    @property
    def fitted_weights(self) -> int:
        """Number of weights of features that are fitted, not trained: those of cold movies, and factors of columns."""
        if not self.movie_columns:
            return self.user_columns
        landmarks, columns = min(self.movies, LANDMARKS), self.movie_columns
        of_cold = landmarks * columns + (landmarks + columns + 1) * (self.model.dim + 1)
        return of_cold + 2 * columns + self.user_columns

    @property
    def table_width(self) -> int:
        """Numbers of a movie in its tables (:class:`gnnrec.models.tables.NodeTables`)."""
        return _table_width(self.model, self.model.movie_ids)

    @property
    def user_width(self) -> int:
        """Numbers of a user in its tables."""
        return _table_width(self.model, self.model.user_ids)


def _table_width(model: ModelOptions, ids: bool) -> int:
    """Returns the numbers per row: two message tables if there are layers, an id table, a bias."""
    tables = (2 if model.layers else 0) + (1 if ids or not model.layers else 0)
    return tables * model.dim + 1
