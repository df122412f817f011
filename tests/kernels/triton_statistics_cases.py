"""Compares Triton kernels for statistics with plain torch: ``python -m tests.kernels.triton_statistics_cases cpu``.

Takes ``cpu`` or ``cuda``, as :mod:`tests.kernels.triton_cases`, and prints a JSON object with the error of each case.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels import dispatch
from gnnrec.kernels import fold_biases as biases
from gnnrec.kernels import statistics as kernels
from gnnrec.kernels.edge_orders import EdgeOrders
from gnnrec.kernels.edges import Edges, EdgeTimeBins, TimeBins
from gnnrec.kernels.ragged import offsets
from tests.kernels.ragged_examples import assert_near
from tests.kernels.triton_program import print_errors

#: Tolerances relative to the largest number; sums on a GPU have up to 23,000 terms here, and in the interpreter 19.
TOLERANCE = {
    "cpu": {torch.float64: 1e-12, torch.float32: 1e-5},
    "cuda": {torch.float64: 1e-12, torch.float32: 1e-4},
}
MOVIES, LEVELS, FOLDS = 11, 10, 6
WINDOWS = TimeBins(
    movie_half_width=60,
    num_movie_half_bins=17,
    movie_shrinkage=7.1,
    user_half_widths=(20, 3),
    user_shrinkages=(5.3, 1.7),
)
#: Edges of the users; the interpreter is slow.
COUNTS = {"cpu": [3, 0, 1, 22, 10, 0, 2, 0], "cuda": [3, 0, 1, 700, 1400, 12, 0, *range(300), 0]}
#: Folds of the lanes: none, one, and groups that start before and reach past the last one.
GROUPS = {"no fold": range(-1, 0), "one fold": range(2, 3), "4 folds": range(3, 7), "16 folds": range(0, 16)}
#: Cases that the interpreter, which is slow, runs in one data type.
SLOW = {
    "temporal biases no fold": torch.float64,
    "temporal biases one fold": torch.float64,
    "temporal biases 4 folds": torch.float32,
    "temporal biases 16 folds": torch.float32,
    "temporal biases in blocks": torch.float64,
    "fold sums 256": torch.float64,
}
DTYPES = {"float64": torch.float64, "float32": torch.float32}


@dataclasses.dataclass
class Example:
    """Random edges and their times.

    Attributes:
        edges: The edges.
        time: int32 ``[edges]``.
        cells: Number of cells.
        follows: Whether each cell is adjacent to the one before, bool ``[cells]``.
    """

    edges: Edges
    time: Tensor
    cells: int
    follows: Tensor


def example(counts: list[int], dtype: torch.dtype, device: str) -> Example:
    """Draws edges in sessions, some of them adjacent; half of them are of one movie, and the last has none."""
    random, size = np.random.default_rng(len(counts)), sum(counts)
    time = np.concatenate([np.sort(random.choice([0, 30, 500, 900], n) + random.integers(0, 25, n)) for n in counts])
    movie = np.where(random.random(size) < 0.5, 2, random.integers(0, MOVIES - 1, size))
    width = WINDOWS.num_movie_half_bins
    years = torch.from_numpy(movie * width + time // WINDOWS.movie_half_width)
    rated = torch.unique(torch.cat([years, torch.tensor([MOVIES * width - 1])]))
    columns = {
        "pointer": offsets(torch.tensor(counts)),
        "movie": torch.from_numpy(movie).to(torch.int32),
        "rating": torch.from_numpy(random.normal(size=size)).to(dtype),
        "level": torch.from_numpy(random.integers(0, LEVELS, size)).to(torch.uint8),
        "fold": torch.from_numpy(random.integers(0, FOLDS, size)).to(torch.uint8),
    }
    columns = {name: values.to(device) for name, values in columns.items()}
    seconds, rated = torch.from_numpy(time).to(torch.int32).to(device), rated.to(device)
    with dispatch.forced("reference"):
        steps = kernels.time_bins(columns["pointer"], seconds, WINDOWS)[1]
    cell = torch.searchsorted(rated, years.to(device)).to(torch.int32)
    orders = EdgeOrders(columns["pointer"], columns["movie"], MOVIES, cell, rated, width)
    edges = Edges(**columns, bins=EdgeTimeBins(cell, steps), movies=MOVIES, orders=orders)
    follows = torch.diff(rated, prepend=rated.new_full((1,), -2)).eq(1) & (rated % width != 0)
    return Example(edges, seconds, rated.numel(), follows)


def compare(function: Callable[[], tuple], tolerance: float) -> None:
    """Compares both implementations, and two runs of Triton's bit for bit."""
    results = []
    for name in ("reference", "triton", "triton"):
        with dispatch.forced(name):
            results.append(function())
    for expected, actual, again in zip(*results, strict=True):
        if expected is None:
            assert actual is None
            continue
        assert actual.dtype == expected.dtype and actual.device == expected.device
        assert torch.equal(actual, again), "two runs differ"
        assert_near(actual, expected, tolerance)


def random_tables(rows: list[int], lanes: int, dtype: torch.dtype, device: str) -> list[Tensor]:
    random = np.random.default_rng(lanes)
    return [torch.from_numpy(random.normal(size=(count, lanes))).to(dtype).to(device) for count in rows]


def sweep(folds: range, sums: bool, dtype: torch.dtype, given: Example, device: str) -> None:
    edges = given.edges
    users, lanes = edges.pointer.numel() - 1, len(folds)
    movie_bias, total, degree = random_tables([MOVIES, users, users], lanes, dtype, device)
    arguments = edges, folds, movie_bias, total, degree.abs(), 5.1, sums
    compare(lambda: biases.bias_sweep(*arguments), TOLERANCE[device][dtype])


def temporal(folds: range, dtype: torch.dtype, given: Example, device: str) -> None:
    edges = given.edges
    users, lanes = edges.pointer.numel() - 1, len(folds)
    tables = random_tables([users, MOVIES], lanes, dtype, device)
    compare(lambda: (biases.year_sums(edges, folds, *tables, given.cells),), TOLERANCE[device][dtype])
    with dispatch.forced("reference"):
        years = biases.both_bins(biases.year_sums(edges, folds, *tables, given.cells), given.follows)
        counts = kernels.fold_sums(edges, max(FOLDS, folds.stop))[0]
    targets = torch.zeros(lanes, users, dtype=torch.int64, device=device)
    if folds.start >= 0:
        targets[:] = counts[folds.start : folds.stop]
    pointer = [0, *targets.sum(1).cumsum(0).tolist()]
    arguments = edges, folds, targets, pointer, *tables, years, WINDOWS, lanes == 1
    compare(lambda: biases.temporal_biases(*arguments), 10 * TOLERANCE[device][dtype])


def temporal_in_blocks(folds: range, dtype: torch.dtype, given: Example, device: str) -> None:
    from gnnrec.kernels import temporal_biases_triton

    before, temporal_biases_triton.TABLE_BYTES = temporal_biases_triton.TABLE_BYTES, 1 << 10
    try:
        temporal(folds, dtype, given, device)
    finally:
        temporal_biases_triton.TABLE_BYTES = before


def fold_sums(folds: int, dtype: torch.dtype, given: Example, device: str) -> None:
    compare(lambda: kernels.fold_sums(given.edges, folds), TOLERANCE[device][torch.float64])


def level_sums(scaled: bool, to_users: bool, dtype: torch.dtype, given: Example, device: str) -> None:
    edges, users = given.edges, given.edges.pointer.numel() - 1
    receivers, senders = (users, MOVIES) if to_users else (MOVIES, users)
    scale = random_tables([senders], 1, dtype, device)[0].squeeze(1) if scaled else None
    arguments = edges.pointer, edges.movie, edges.level, (receivers, LEVELS), scale, to_users, dtype
    compare(lambda: (kernels.level_sums(*arguments),), TOLERANCE[device][dtype])


def residuals(excluded: int, dropped: bool, slots: bool, dtype: torch.dtype, given: Example, device: str) -> None:
    edges, users = given.edges, given.edges.pointer.numel() - 1
    base, bias = (table.squeeze(1) for table in random_tables([users, MOVIES], 1, dtype, device))
    random, group, kept = np.random.default_rng(7), None, None
    if dropped:
        group = torch.from_numpy(random.integers(0, 8, edges.movie.numel())).to(torch.uint8).to(device)
        kept = torch.tensor([True, False, True, True, False, True, True, True], device=device)
    with dispatch.forced("reference"):
        targets = kernels.fold_sums(edges, FOLDS)[0][excluded].clone() if excluded >= 0 else edges.pointer.diff() * 0
        expected = kernels.residuals(edges, excluded, targets, None, base, bias, group, kept, 4 / 3, slots)
    rest = base, bias, group, kept, 4 / 3, slots
    for sizes in (None, (expected.movie.numel(), expected.target_movie.numel())):
        run = functools.partial(kernels.residuals, edges, excluded, targets, sizes, *rest)
        compare(lambda run=run: tuple(vars(run()).values()), TOLERANCE[device][dtype])


def window_sums(half_width: int, dtype: torch.dtype, given: Example, device: str) -> None:
    """Asks for the times of some edges, around them, far from all, and before all."""
    random, edges = np.random.default_rng(9), given.edges
    counts = torch.tensor([3 * (user % 4) for user in range(edges.pointer.numel() - 1)])
    size = int(counts.sum())
    asked = random.choice([-(2**31) + 2, -half_width, -1, 0, 29, 42, 512, 905, 930, 2**31 - 2], size)
    asked = torch.from_numpy(np.clip(asked + random.integers(-4, 5, size), -(2**31) + 2, 2**31 - 2)).to(torch.int32)
    left = random_tables([edges.movie.numel()], 1, dtype, device)[0].squeeze(1)
    arguments = edges.pointer, given.time, left, half_width, offsets(counts).to(device), asked.to(device)
    compare(lambda: (kernels.window_sums(*arguments),), TOLERANCE[device][dtype])


def time_bins(dtype: torch.dtype, given: Example, device: str) -> None:
    compare(lambda: kernels.time_bins(given.edges.pointer, given.time, WINDOWS), 0)


def run_cases(device: str) -> dict[str, Callable[[], None]]:
    """Returns a function for each case."""
    from gnnrec.kernels import chunks_triton

    cases: dict[str, Callable] = {}
    for group, folds in GROUPS.items():
        for sums in (True, False):
            cases[f"{'both sweeps' if sums else 'sweep of users'} {group}"] = functools.partial(sweep, folds, sums)
        cases[f"temporal biases {group}"] = functools.partial(temporal, folds)
    cases["temporal biases in blocks"] = functools.partial(temporal_in_blocks, GROUPS["4 folds"])
    cases |= {f"fold sums {folds}": functools.partial(fold_sums, folds) for folds in (FOLDS, 256)}
    for scaled, to_users in itertools.product((True, False), repeat=2):
        name = f"{'scaled ' if scaled else ''}levels of {'users' if to_users else 'movies'}"
        cases[name] = functools.partial(level_sums, scaled, to_users)
    for excluded, dropped, slots in [(-1, False, True), (-1, True, False), (2, False, False), (2, True, True)]:
        name = f"residuals {excluded} {'dropped ' if dropped else ''}{'slots' if slots else ''}".strip()
        cases[name] = functools.partial(residuals, excluded, dropped, slots)
    cases |= {f"window sums {half}": functools.partial(window_sums, half) for half in (3, 20, 43_200)}
    cases["time bins"] = time_bins
    result = {}
    for kind, dtype in DTYPES.items():
        given, empty = example(COUNTS[device], dtype, device), example([0, 0, 0], dtype, device)
        assert given.edges.orders.by_movie.cell_pointer.diff().max() > chunks_triton.CHUNK
        for name, case in cases.items():
            if device == "cuda" or name not in SLOW or dtype == SLOW[name]:
                result[f"{name} {kind}"] = functools.partial(case, dtype, given, device)
            result[f"{name} {kind} no edges"] = functools.partial(case, dtype, empty, device)
    return result


def main(where: str) -> None:
    """Runs the cases on a device."""
    from gnnrec.kernels import chunks_triton, lanes_triton

    if where == "cpu":
        chunks_triton.CHUNK, lanes_triton.TILE, lanes_triton.LONGEST = 8, 256, 8
    print_errors(run_cases(where))


if __name__ == "__main__":
    main(sys.argv[1])
