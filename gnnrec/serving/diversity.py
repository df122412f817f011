"""Lists whose movies differ from one another, by maximal marginal relevance.

Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries",
SIGIR 1998.
"""

from __future__ import annotations

import numpy as np

#: Best movies that every list is chosen from. It is the same for all lengths, so that a list begins with each shorter
#: one, and pages are cut from one list.
POOL = 1000


def diverse_order(scores: np.ndarray, vectors: np.ndarray, diversity: float, top: int) -> np.ndarray:
    """Returns places of movies, best first: each has the highest ``(1 - diversity) * score - diversity * similarity``.

    Scores are scaled to 0 to 1 over all movies; the similarity is the highest cosine with a movie chosen before.

    Args:
        scores: float32 ``[movies]``, descending.
        vectors: float32 ``[movies, dim]``.
        diversity: From 0, the order of scores, to 1.
        top: Movies to choose.
    """
    count = min(top, len(scores))
    if count == 0:
        return np.empty(0, np.int64)
    spread = float(scores.max() - scores.min()) or 1.0
    relevance = (1 - diversity) * (scores.astype(np.float64) - float(scores.min())) / spread
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    directions = (vectors / lengths).astype(np.float64)
    nearest, chosen = np.full(len(scores), -np.inf), [int(relevance.argmax())]
    relevance[chosen[0]] = -np.inf
    while len(chosen) < count:
        nearest = np.maximum(nearest, directions @ directions[chosen[-1]])
        best = int((relevance - diversity * nearest).argmax())
        chosen.append(best)
        relevance[best] = -np.inf
    return np.array(chosen, np.int64)
