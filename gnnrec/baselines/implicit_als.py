"""Implicit ALS (Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008), with the
package ``implicit``.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.ranking_fit import fitted_ranking, training_interactions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.interactions import Interactions
from gnnrec.models.gram import sparse_matrix

#: Alternating sweeps.
ITERATIONS = 15
#: Factors, weight of a relevant rating (all other pairs have weight 1), and L2, from which validation chooses.
FACTORS, ALPHAS, REGULARIZATIONS = (64, 128), (2.0, 10.0), (10.0, 3.0, 30.0, 50.0, 100.0, 200.0)


def fit_implicit_als(
    dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict
) -> Fitted:
    """Fits movie factors on rank 0 alone; every rank folds its users in.

    Args:
        dataset: The prepared dataset.
        world: The ranks.
        splits: Splits to fit on.
        seed: Seed of the initial factors.
        setting: ``factors``, ``regularization``, and ``alpha`` or ``count_confidence``: equal weights of relevant
            ratings, or weights by their counts.

    Raises:
        UserError: The package is not installed.
    """
    from threadpoolctl import threadpool_limits

    confidence = setting.get("count_confidence", 0.0)
    rated = sparse_matrix(training_interactions(dataset, world, splits, confidence), dataset.num_movies)
    own = rated.indptr.astype(np.int64), rated.indices.astype(np.int32), rated.data.astype(np.float32)
    parts = world.all_gather_objects(own)
    with threadpool_limits(1, "blas"):  # the package runs its own threads
        model = _model(setting, seed)
        if world.is_main:
            model.fit(_stacked(parts, dataset.num_movies), show_progress=False)
        model.item_factors = world.broadcast_object(model.item_factors)
    movies = torch.from_numpy(model.item_factors).to(world.device)

    def score(shown: Interactions) -> Tensor:
        liked = scipy.sparse.csr_matrix(sparse_matrix(shown, dataset.num_movies).astype(np.float32))
        with threadpool_limits(1, "blas"):
            users = model.recalculate_user(np.arange(shown.num_users), liked)
        return torch.from_numpy(users).to(world.device) @ movies.T

    return fitted_ranking(dataset, world, score, confidence)


def _model(setting: dict, seed: int) -> Any:
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError:
        raise UserError("baseline implicit ALS needs the package implicit: pip install 'gnnrec[implicit]'") from None
    return AlternatingLeastSquares(
        factors=setting["factors"],
        alpha=setting.get("alpha", 1.0),
        regularization=setting["regularization"],
        iterations=ITERATIONS,
        num_threads=torch.get_num_threads(),
        random_state=seed,
    )


def _stacked(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], num_movies: int) -> scipy.sparse.csr_matrix:
    """Stacks the users of all ranks in the order of their rows."""
    blocks = [
        scipy.sparse.csr_matrix((weight, movie, pointer), (len(pointer) - 1, num_movies))
        for pointer, movie, weight in parts
    ]
    return scipy.sparse.vstack(blocks, format="csr")


IMPLICIT_ALS = Baseline(
    "implicit ALS",
    "ranking",
    tuple(
        {"factors": factors, "alpha": alpha, "regularization": regularization}
        for factors, alpha, regularization in itertools.product(FACTORS, ALPHAS, REGULARIZATIONS)
    ),
    fit_implicit_als,
    uses_counts=True,
)
