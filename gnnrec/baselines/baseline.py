"""What a baseline is, and the search on validation that every baseline goes through."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.evaluation.metrics import Metrics


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A baseline with its parameters.

    Attributes:
        metrics: Split -> metrics over all ranks; every rank calls it.
        found: What the fit itself chose on validation, such as a number of epochs. It becomes part of the setting, so
            that a fit that includes validation ratings repeats it.
    """

    metrics: Callable[[int], Metrics]
    found: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A model without a graph, and the settings it is tuned over.

    Attributes:
        name: As tables show it.
        objective: Which metrics it is scored by.
        grid: Settings among which validation chooses, the usual one first: it is taken where there are no validation
            ratings. One empty dict where there is nothing to choose.
        fit: ``(dataset, world, splits, seed, setting) -> Fitted``; every rank calls it. It may look at validation
            ratings only where ``setting`` comes from the grid, never at test ratings.
    """

    name: str
    objective: Literal["rating", "ranking"]
    grid: tuple[dict, ...]
    fit: Callable[[PreparedDataset, World, tuple[int, ...], int, dict], Fitted]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A baseline fitted with the setting that validation chose.

    Attributes:
        fitted: The fit on the splits that were asked for.
        setting: The chosen setting.
        validation_loss: Its loss on validation when fitted without validation ratings; None where it is not known.
    """

    fitted: Fitted
    setting: dict
    validation_loss: float | None


def fit_best(baseline: Baseline, dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int) -> Chosen:
    """Chooses a setting on validation and fits with it.

    Where validation is part of ``splits`` (refitting), the setting is chosen by fits without validation ratings, and
    the baseline is then fitted once more on all of ``splits``.

    Args:
        baseline: The baseline.
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        splits: Splits to fit on, never test.
        seed: Seed of whatever is random in a fit.

    Raises:
        UserError: No setting gives a finite loss on validation.
    """
    refit = VALIDATION in splits
    if not dataset.manifest.split["counts"]["validation"] or (refit and not baseline.grid[0]):
        return Chosen(baseline.fit(dataset, world, splits, seed, baseline.grid[0]), baseline.grid[0], None)
    without = tuple(split for split in splits if split != VALIDATION)
    best, lowest, setting = None, math.inf, {}
    for candidate in baseline.grid:
        world.check_stop()
        fitted = baseline.fit(dataset, world, without, seed, candidate)
        # Every rank has the same loss up to rounding, but all must take the same setting.
        loss = world.broadcast_object(fitted.metrics(VALIDATION).loss)
        if loss is not None and loss < lowest:
            best, lowest, setting = fitted, loss, candidate | fitted.found
    if best is None:
        raise UserError(f"baseline {baseline.name}: no setting of its grid gives a finite error on validation")
    if refit:
        best = baseline.fit(dataset, world, splits, seed, setting)
    return Chosen(best, setting, lowest)
