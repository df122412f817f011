"""``gnnrec evaluate RUN --against OTHER``: differences of the test metrics of two runs, with confidence intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gnnrec.data.prepared import TEST
from gnnrec.errors import UserError
from gnnrec.evaluation.bootstrap import LEVEL, Difference, paired_differences
from gnnrec.evaluation.metrics import Metrics, in_order
from gnnrec.inference.load import load_run
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.summary import NO_TEST


def load_other(run: LoadedRun, path: Path, checkpoint: str) -> LoadedRun:
    """Opens the run that a run is compared with, on the dataset of that one; every rank calls this.

    Args:
        run: The run.
        path: Run directory of the other one.
        checkpoint: ``best`` or ``last``.

    Raises:
        UserError: Not a run, or one with other data, another objective or without test ratings.
    """
    if read_info(find_checkpoint(path, checkpoint)).dataset != run.dataset.fingerprint:
        raise UserError(
            f"--against {path}: that run was trained on another prepared dataset than {run.dataset.directory}: "
            "runs are compared user by user on the same split only"
        )
    other = load_run(path, run.world, checkpoint, run.dataset.directory)
    if other.config.objective != run.config.objective:
        raise UserError(
            f"--against {path}: that run has the objective {other.config.objective}, and its metrics are not those of "
            f"{run.config.objective}"
        )
    if other.config.refit == "all":
        raise UserError(f"--against {path}: {NO_TEST}: compare with a run that has some")
    return other


def print_differences(
    run: LoadedRun, measured: list[Metrics], other: LoadedRun, path: Path, resamples: int
) -> dict[str, dict[str, Difference]]:
    """Prints the differences of the test metrics of two runs, with confidence intervals; every rank calls this.

    Args:
        run: The run.
        measured: Its test metrics, and those of its lists.
        other: The run that it is compared with.
        path: Run directory of that one.
        resamples: Samples of users.

    Returns:
        ``test``, and for rating runs that were measured on the same users ``lists`` -> metric -> difference.
    """
    world, found = run.world, {}
    embeddings = other.embed()
    of_other = [other.evaluate(TEST, embeddings), other.evaluate_lists(TEST, embeddings)]
    for name, own, theirs in zip(("test", "lists"), measured, of_other):
        if own.by_user is None or theirs is None or theirs.by_user is None or not own.count:
            continue
        first, second = (metrics.by_user.gathered(run.part.start, world) for metrics in (own, theirs))
        if not np.array_equal(first.user, second.user):
            world.log(f"{name}: the runs were measured on different users, so there are no differences")
            continue
        found[name] = paired_differences([first], [second], resamples)
        world.print(f"{name}: {len(first.user):,} users, less the metrics of {path} (other), {LEVEL:.0%} intervals")
        for line in table(found[name]):
            world.print(line)
    return found


def table(rows: dict[str, Difference]) -> list[str]:
    """Lines with both values of a metric each, their difference and its interval."""
    names = in_order([{name: row.first for name, row in rows.items()}])
    head = f"{'metric':20}{'run':>10}{'other':>10}{'difference':>12}  interval"
    lines = [
        f"{name:20}{rows[name].first:10.4f}{rows[name].second:10.4f}{rows[name].value:+12.4f}  "
        f"{rows[name].low:+.4f} to {rows[name].high:+.4f}"
        for name in names
    ]
    return [head, *lines]
