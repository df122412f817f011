"""Options of rankings that depend on the order of likes."""

from __future__ import annotations

import dataclasses

from gnnrec.utils.bounds import bounded

#: Values from which validation chooses, and the defaults without validation.
EXPONENTS, DEFAULT_EXPONENT = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.1, 1.4, 1.8), 0.6
NEXT_WEIGHTS, DEFAULT_NEXT_WEIGHT = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0), 1.0
L2_GRID, DEFAULT_L2 = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0), 30.0


@dataclasses.dataclass
class OrderOptions:
    """Order of likes in rankings, where held-out movies come later (protocols leave-last and global-time).

    It is fitted after training. A user's vector weights likes by their place from the newest one, and a ridge
    regression from a decayed history to the next movie is a second score. A refit, which has no validation, takes
    defaults: pass what the measured run chose.

    Args:
        enabled: Fit the order of likes; without times, and where held-out movies are drawn at random, it is left out.
        exponent: A like at place k from the newest one has weight k ^ -exponent; by default the exponent is chosen on
            validation.
        next_weight: Weight of the score of the next movie, both in standard deviations over movies; by default it is
            chosen on validation.
        l2: L2 of the ridge regression.
        movies: Most movies of the ridge regression, the most liked ones (it solves dense equations in pairs of them).
    """

    enabled: bool = True
    exponent: float | None = bounded(None, least=0)
    next_weight: float | None = bounded(None, least=0)
    l2: float = bounded(0.0, least=0, meaning="chosen on validation")
    movies: int = bounded(4096, least=1)
