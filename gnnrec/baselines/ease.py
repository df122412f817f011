"""EASE: a linear item model in closed form (Steck, WWW 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.ranking_fit import fitted_ranking, training_interactions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions
from gnnrec.models.closed_form import item_weights, require_few_movies
from gnnrec.models.gram import weighted_gram

#: Penalties from which validation chooses, the default first.
PENALTIES = (300.0, 10.0, 30.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)


def fit_ease(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    """Fits EASE, which scores ``x B`` for a user who likes the movies ``x``.

    Args:
        dataset: The prepared dataset.
        world: The ranks; every rank inverts the same matrix.
        splits: Splits to fit on.
        seed: Not used.
        setting: ``penalty``, the same for every movie; and ``count_confidence``, with which ``x`` has the weights of
            movies by their counts.

    Raises:
        UserError: There are too many movies.
    """
    require_few_movies(dataset.num_movies, "baseline EASE", "leave out this baseline")
    confidence = setting.get("count_confidence", 0.0)
    train = training_interactions(dataset, world, splits, confidence)
    gram = weighted_gram(train, dataset.num_movies, None, world)
    weights = item_weights(gram, torch.full((dataset.num_movies,), setting["penalty"]))

    def score(shown: Interactions) -> Tensor:
        return shown.sums(weights)

    return fitted_ranking(dataset, world, score, confidence)


EASE = Baseline("EASE", "ranking", tuple({"penalty": penalty} for penalty in PENALTIES), fit_ease, uses_counts=True)
