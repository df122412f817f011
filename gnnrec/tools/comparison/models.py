"""Models that can be compared on a dataset, by name."""

from __future__ import annotations

import difflib
import importlib.util

from gnnrec.baselines.baseline import Baseline
from gnnrec.baselines.feature_rankings import CATEGORY_POPULARITY, FEATURE_RANKINGS
from gnnrec.baselines.feature_ratings import FEATURE_RATINGS
from gnnrec.baselines.ranking import RANKING_BASELINES
from gnnrec.baselines.rating import RATING_BASELINES
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.split_ranking import has_no_ratings
from gnnrec.errors import UserError
from gnnrec.models.layers import architectures
from gnnrec.training.resolve_config import fitting_objective
from gnnrec.utils.log import logger

BASELINES: dict[str, dict[str, Baseline]] = {
    "rating": {**RATING_BASELINES, **{baseline.name: baseline for baseline in FEATURE_RATINGS}},
    "ranking": {**RANKING_BASELINES, **{ranking.name: ranking.baseline() for ranking in FEATURE_RANKINGS}},
}
#: Objective -> name -> options that it sets.
GNNS: dict[str, dict[str, list[str]]] = {
    "rating": {name: ["objective=rating", f"model.architecture={name}"] for name in architectures()},
    "ranking": {"gnn": ["objective=ranking"]},
}
#: Baselines that need an optional package.
_PACKAGES = {"implicit ALS": "implicit"}


def choose(requested: list[str], dataset: PreparedDataset) -> tuple[str, list[str]]:
    """Returns the objective and names of the models to compare.

    Args:
        requested: Names; empty for all installed models of the protocol of the dataset that its columns allow.
        dataset: The prepared dataset. A ranking protocol excludes rating models.

    Raises:
        UserError: An unknown name, or models without a common metric.
    """
    if not requested:
        objective, _ = fitting_objective(dataset.manifest)
        names = [*BASELINES[objective], *GNNS[objective]]
        missing = {name for name in names if not _installed(name)}
        for name in sorted(missing):
            logger.info(f"{name} is not installed and left out: pip install 'gnnrec[{_PACKAGES[name]}]'")
        missing |= {name for name in names if _lacking(name, dataset)}
        return objective, [name for name in names if name not in missing]
    ranked_only = has_no_ratings(dataset.manifest)
    known = {name: objective for objective in BASELINES for name in (*BASELINES[objective], *GNNS[objective])}
    for name in requested:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"choose among {', '.join(known)}"
            raise UserError(f"--models: {name} is not a model ({hint})")
        if ranked_only and known[name] == "rating":
            raise UserError(f"--models: {name} predicts ratings, and {dataset.directory} was prepared for ranking")
        if lacking := _lacking(name, dataset):
            raise UserError(f"--models: {name} needs {lacking}, and {dataset.directory} has none")
        if not _installed(name):
            raise UserError(f"--models: {name} is not installed: pip install 'gnnrec[{_PACKAGES[name]}]'")
    objectives = {known[name] for name in requested}
    if len(objectives) > 1:
        raise UserError("--models: rating and ranking models have no common metric: choose models of one kind")
    return objectives.pop(), list(dict.fromkeys(requested))


def _lacking(name: str, dataset: PreparedDataset) -> str | None:
    """The part of the data that a model needs and the dataset does not have; None if it has everything."""
    baseline = next((kind[name] for kind in BASELINES.values() if name in kind), None)
    if baseline is None:
        return None
    if baseline.needs_times and dataset.timestamp is None:
        return "times"
    if baseline.suits is not None and not baseline.suits(dataset):
        by_category = name == CATEGORY_POPULARITY.name
        return "categories or short lists among features of movies" if by_category else "features of movies"
    return None


def _installed(name: str) -> bool:
    return name not in _PACKAGES or importlib.util.find_spec(_PACKAGES[name]) is not None
