"""Item-kNN: scores a movie by its cosine similarities to the movies that a user likes."""

from __future__ import annotations

from torch import Tensor

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.ranking_fit import fitted_ranking, training_interactions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions
from gnnrec.kernels.sums import bag
from gnnrec.models.closed_form import require_few_movies
from gnnrec.models.gram import weighted_gram
from gnnrec.models.neighbors import cosine_neighbors

#: Numbers of neighbors from which validation chooses, the default first.
NEIGHBORS = (100, 20, 50, 200, 400)


def fit_item_knn(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    """Fits item-kNN.

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank has all similarities.
        splits: Splits to fit on.
        seed: Not used.
        setting: ``neighbors``.

    Raises:
        UserError: There are too many movies.
    """
    require_few_movies(dataset.num_movies, "baseline item kNN", "leave out this baseline")
    train = training_interactions(dataset, world, splits)
    similarity = cosine_neighbors(weighted_gram(train, dataset.num_movies, None, world), setting["neighbors"])

    def score(shown: Interactions) -> Tensor:
        return bag(similarity, shown.movie, shown.user_ptr)

    return fitted_ranking(dataset, world, score)


ITEM_KNN = Baseline("item kNN", "ranking", tuple({"neighbors": count} for count in NEIGHBORS), fit_item_knn)
