"""Interface of baselines, and the search on validation that tunes them."""

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
    """A fitted baseline.

    Attributes:
        metrics: Split -> metrics over all ranks; every rank calls it.
        chosen: Settings that the fit itself chose on validation, such as a number of epochs. They become part of the
            setting, so that a fit that includes validation ratings uses the same.
    """

    metrics: Callable[[int], Metrics]
    chosen: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A model without a graph, and the settings it is tuned over.

    Attributes:
        name: Name in tables.
        objective: Objective whose metrics it is scored by.
        grid: Settings from which validation chooses. The first one is the default without validation ratings. A single
            empty dict if there is nothing to choose.
        fit: ``(dataset, world, splits, seed, setting) -> Fitted``; every rank calls it. It may read validation ratings
            only if ``setting`` comes from the grid, and never test ratings.
        needs_times: The ratings must have times.
        trial: ``(dataset, world, splits, seed) -> (setting -> Fitted)``: fits among which settings are chosen, where
            they cost less than ``fit``; every rank makes the same calls.
        suits: Whether a dataset has the features that it needs; None if it needs none.
        uses_counts: Its settings may have ``count_confidence`` (:meth:`with_count_confidence`).
    """

    name: str
    objective: Literal["rating", "ranking"]
    grid: tuple[dict, ...]
    fit: Callable[[PreparedDataset, World, tuple[int, ...], int, dict], Fitted]
    needs_times: bool = False
    trial: Callable[[PreparedDataset, World, tuple[int, ...], int], Callable[[dict], Fitted]] | None = None
    suits: Callable[[PreparedDataset], bool] | None = None
    uses_counts: bool = False

    def with_count_confidence(self, alpha: float) -> Baseline:
        """The baseline with ``1 + alpha log(1 + count)`` as weights of ratings, if it can and alpha is not 0.

        These replace the equal weights ``alpha`` of implicit ALS.
        """
        if not alpha or not self.uses_counts:
            return self
        settings = [{name: value for name, value in setting.items() if name != "alpha"} for setting in self.grid]
        distinct = [setting for number, setting in enumerate(settings) if setting not in settings[:number]]
        return dataclasses.replace(self, grid=tuple(setting | {"count_confidence": alpha} for setting in distinct))


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A baseline fitted with the setting that validation chose.

    Attributes:
        fitted: The fit on the requested splits.
        setting: The chosen setting.
        validation_loss: Its validation loss when fitted without validation ratings, that of the trial if the baseline
            has trials; None if it was not measured.
    """

    fitted: Fitted
    setting: dict
    validation_loss: float | None


def fit_best(baseline: Baseline, dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int) -> Chosen:
    """Chooses a setting on validation and fits with it.

    If validation is part of ``splits`` (refitting), the setting is chosen by fits without validation ratings, and the
    baseline is then fitted again on all of ``splits``.

    Args:
        baseline: The baseline.
        dataset: The prepared dataset.
        world: The ranks; every rank calls this.
        splits: Splits to fit on, never test.
        seed: Seed of the fits.

    Raises:
        UserError: No setting gives a finite loss on validation.
    """
    refit = VALIDATION in splits
    if not dataset.manifest.split["counts"]["validation"] or (refit and not baseline.grid[0]):
        return Chosen(baseline.fit(dataset, world, splits, seed, baseline.grid[0]), baseline.grid[0], None)
    without = tuple(split for split in splits if split != VALIDATION)
    trial = baseline.trial(dataset, world, without, seed) if baseline.trial else None
    best, lowest, setting = None, math.inf, {}
    for candidate in baseline.grid:
        world.check_stop()
        fitted = trial(candidate) if trial else baseline.fit(dataset, world, without, seed, candidate)
        # Every rank has the same loss except for rounding, but all must choose the same setting.
        loss = world.broadcast_object(fitted.metrics(VALIDATION).loss)
        if loss is not None and loss < lowest:
            best, lowest, setting = fitted, loss, candidate | fitted.chosen
    if best is None:
        raise UserError(f"baseline {baseline.name}: no setting of its grid gives a finite error on validation")
    if refit or trial:
        del trial  # frees its matrices
        best = baseline.fit(dataset, world, splits, seed, setting)
    return Chosen(best, setting, lowest)
