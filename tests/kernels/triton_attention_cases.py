"""Runs Triton kernels of attention: ``python -m tests.kernels.triton_attention_cases cpu | cuda``.

A separate program, because Triton reads ``TRITON_INTERPRET``, which runs kernels on a CPU, when it is imported. Prints
a JSON object with the error of each case, or an empty string.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu
from torch.utils._python_dispatch import TorchDispatchMode

from gnnrec.kernels import dispatch
from gnnrec.kernels.attention import attention_sums, largest_logits
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.ragged import offsets
from tests.kernels.ragged_examples import ragged_lists
from tests.kernels.triton_cases import CHUNK, LONGEST, compare, moved, table
from tests.kernels.triton_program import print_errors
from tests.pretend_gpu.counting import VIEWS

ROWS, COLUMNS, SLOPE, WEIGHT = 7, 6, 0.2, 1.4
EVERYTHING, NOTHING = {"second", "receiver", "rating", "levels"}, set()
#: Data type of values, heads, channels of a head, rating levels, and optional inputs and results.
ATTENTION = {
    "float64 2x5 everything": (torch.float64, 2, 5, 4, EVERYTHING),
    "float32 2x32 everything": (torch.float32, 2, 32, 10, EVERYTHING),
    "float32 3x8 nothing": (torch.float32, 3, 8, 0, NOTHING),
    "float32 1x16 receiver levels": (torch.float32, 1, 16, 5, {"receiver", "levels"}),
    "float32 2x8 second rating": (torch.float32, 2, 8, 4, {"second", "rating"}),
}
#: Wide ones, and the direction.
WIDE = {
    # Two blocks of heads, of messages and of attention by level.
    "float32 4x100 everything": (False, (torch.float32, 4, 100, 70, EVERYTHING)),
    # Two blocks of channels.
    "float32 1x300 everything": (True, (torch.float32, 1, 300, 4, EVERYTHING)),
    "float64 1x260 second levels": (False, (torch.float64, 1, 260, 3, {"second", "levels"})),
}
WAYS = {"to users": True, "to movies": False}
#: The interpreter computes nonsense in bfloat16.
ONLY_ON_GPUS = {"bfloat16 2x32 everything": (torch.bfloat16, 2, 32, 10, EVERYTHING)}


def attend(
    tables: dict[str, Tensor], shift: Tensor | None, lists: CSRLists, level: Tensor, to_users: bool, levels: int
) -> list[Tensor]:
    """Returns the shift, by default the largest logits, and all sums."""
    value, second, *logits = (tables.get(name) for name in ("value", "second", "sender", "receiver", "rating"))
    if shift is None:
        shift = largest_logits(*logits, lists, level, SLOPE, to_users)
        shift = torch.where(shift.isfinite(), shift, 0)
    return [shift, *attention_sums(value, second, *logits, shift, lists, level, SLOPE, to_users, levels)]


def sums(to_users: bool, case: tuple, device: str) -> None:
    """Compares values and gradients with plain torch."""
    compare(*sums_case(to_users, case, LONGEST[device], device))


def sums_case(to_users: bool, case: tuple, longest: int, device: str) -> tuple:
    """Returns a function of tables and lists, both, and the data type of sums. The shifts are random."""
    dtype, heads, channels, levels, given = case
    exact = torch.promote_types(dtype, torch.float32)
    lists = moved(ragged_lists(ROWS, COLUMNS, longest, exact, WEIGHT, row_scale=False), device)
    level = torch.arange(lists.entry.numel(), device=device).remainder(max(levels, 1)).flip(0).to(torch.uint8)
    senders, receivers = (COLUMNS, ROWS) if to_users else (ROWS, COLUMNS)
    shapes = {
        "value": (senders, heads * channels, dtype),
        "second": (senders, heads * channels, dtype),
        "sender": (senders, heads, exact),
        "receiver": (receivers, heads, exact),
        "rating": (levels, heads, exact),
    }
    names = [name for name in shapes if name in given | {"value", "sender"}]
    inputs = [table(*shapes[name], seed, device) for seed, name in enumerate(names)]
    shift = table(receivers, heads, exact, 9, device).detach()
    num_levels = levels if "levels" in given else 0

    def function(*tensors) -> Tensor:
        results = attend(dict(zip(names, tensors[:-1])), shift, tensors[-1], level, to_users, num_levels)
        return torch.cat([result.flatten() for result in results])

    return function, inputs, lists, exact


def largest(to_users: bool, case: tuple, device: str) -> None:
    """The largest logits are those of plain torch bit for bit; a list without edges has minus infinity."""
    dtype, heads, rated = case
    lists = moved(ragged_lists(ROWS, COLUMNS, LONGEST[device], dtype, row_scale=False), device)
    level = torch.arange(lists.entry.numel(), device=device).remainder(7).to(torch.uint8)
    senders, receivers = (COLUMNS, ROWS) if to_users else (ROWS, COLUMNS)
    logits = [table(count, heads, dtype, count, device).detach() for count in (senders, receivers, 7)]
    logits[2] = logits[2] if rated else None
    results = []
    for name in ("reference", "triton"):
        with dispatch.forced(name):
            results.append(largest_logits(*logits, lists, level, SLOPE, to_users))
    assert torch.equal(*results) and results[0].isneginf().any() and results[0].dtype == dtype


def softmax(to_users: bool, device: str) -> None:
    """Compares quotients of sums, and their gradients, with torch's softmax of dense logits in double precision."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device)

    receivers, senders, heads, channels, levels = 4, CHUNK[device] + 10, 2, 6, 5
    mask = (torch.rand(receivers, senders, generator=generator) < 0.05).to(device)
    mask[1], mask[2], mask[:, 3] = True, False, False
    factor, level = normal(receivers, senders), torch.randint(levels, (receivers, senders), generator=generator)
    level = level.to(device)
    tables = {
        "value": normal(senders, heads * channels),
        "second": normal(senders, heads * channels),
        "sender": 5 * normal(senders, heads),
        "receiver": 5 * normal(receivers, heads),
        "rating": 5 * normal(levels, heads),
    }
    tables = {name: values.requires_grad_() for name, values in tables.items()}
    logit = tables["sender"] + tables["receiver"].unsqueeze(1) + tables["rating"][level]
    logit = leaky_relu(logit, SLOPE).masked_fill(~mask.unsqueeze(2), -torch.inf)
    share = logit.softmax(1).nan_to_num(0)
    value, second = (tables[name].unflatten(1, (heads, channels)) for name in ("value", "second"))
    expected = torch.einsum("rsh,shc->rhc", share, value)
    expected = expected + torch.einsum("rsh,rs,shc->rhc", share, factor / WEIGHT, second)
    by_level = torch.einsum("rsh,rsl->rhl", share, torch.nn.functional.one_hot(level, levels).double())

    # Lists are users: rows of the matrices, or columns.
    matrices = [matrix if to_users else matrix.T for matrix in (mask, factor, level)]
    users, movies = matrices[0].nonzero(as_tuple=True)
    factors, levels_of_edges = (matrix[users, movies] for matrix in matrices[1:])
    columns = matrices[0].shape[1]
    lists = CSRLists(offsets(matrices[0].sum(1)), movies.int(), columns, factors, WEIGHT)
    edge_level = levels_of_edges.to(torch.uint8)
    with dispatch.forced("triton"):
        _, numerator, denominator, sums_by_level = attend(tables, None, lists, edge_level, to_users, levels)
        divisor = torch.where(denominator > 0, denominator, 1).unsqueeze(2)
        actual = numerator.unflatten(1, (heads, channels)) / divisor
        actual_by_level = sums_by_level / divisor
        weights = normal(*expected.shape), normal(*by_level.shape)
        gradients = [
            torch.autograd.grad((weights[0] * out).sum() + (weights[1] * kinds).sum(), list(tables.values()))
            for out, kinds in ((actual, actual_by_level), (expected, by_level))
        ]
    near = functools.partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)
    near(actual, expected)
    near(actual_by_level, by_level)
    for name, ours, theirs in zip(tables, *gradients):
        near(ours, theirs, msg=lambda message, name=name: f"{name}: {message}")


def no_edges(to_users: bool, device: str) -> None:
    """All results and gradients are zero without edges, also without users."""
    for users, movies in ((3, 4), (0, 4)):
        pointer, entry = torch.zeros(users + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int32)
        lists = moved(CSRLists(pointer, entry, movies, torch.zeros(0)), device)
        senders, receivers = (movies, users) if to_users else (users, movies)
        widths = {"value": (senders, 8), "second": (senders, 8), "sender": (senders, 2)}
        widths |= {"receiver": (receivers, 2), "rating": (5, 2)}
        tables = {name: table(*shape, torch.float32, 1, device) for name, shape in widths.items()}
        level = torch.zeros(0, dtype=torch.uint8, device=device)
        with dispatch.forced("triton"):
            _, *results = attend(tables, None, lists, level, to_users, 5)
            gradients = torch.autograd.grad(sum(result.sum() for result in results), list(tables.values()))
        assert [result.shape for result in results] == [(receivers, 8), (receivers, 2), (receivers, 2, 5)]
        assert [gradient.shape for gradient in gradients] == [values.shape for values in tables.values()]
        assert not any(result.any() for result in (*results, *gradients))


def views_of_wider_tables(to_users: bool, device: str) -> None:
    """Values may be columns of a wider table, and logits may be transposed."""
    lists = moved(ragged_lists(ROWS, COLUMNS, 10, torch.float32, WEIGHT, row_scale=False), device)
    senders, receivers = (COLUMNS, ROWS) if to_users else (ROWS, COLUMNS)
    shapes = (senders, 40), (3, senders), (3, receivers)
    wide, sender, receiver = (table(*shape, torch.float32, seed, device) for seed, shape in enumerate(shapes))
    level = torch.zeros(lists.entry.numel(), dtype=torch.uint8, device=device)

    def function(wide: Tensor, sender: Tensor, receiver: Tensor, lists: CSRLists) -> Tensor:
        tables = {"value": wide[:, :15], "second": wide[:, 20:35], "sender": sender.T, "receiver": receiver.T}
        return torch.cat([result.flatten() for result in attend(tables, None, lists, level, to_users, 0)])

    compare(function, [wide, sender, receiver], lists, torch.float32)


@contextlib.contextmanager
def recording() -> Iterator[list[tuple]]:
    """Context in which kernels are not run; yields the kernels and arguments of launches."""
    from gnnrec.kernels import attention_triton

    launches = []

    class Recorder:
        def __init__(self, kernel) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: tuple) -> Callable:
            return lambda *arguments, num_warps: launches.append((self.kernel, arguments, num_warps))

    kernels = {name: kernel for name, kernel in vars(attention_triton).items() if hasattr(kernel, "arg_names")}
    assert len(kernels) == 7
    vars(attention_triton).update({name: Recorder(kernel) for name, kernel in kernels.items()})
    try:
        yield launches
    finally:
        vars(attention_triton).update(kernels)


def launches(to_users: bool, device: str) -> None:
    """Maxima and sums take two launches each, and all gradients six: kernels and operators of torch."""
    from gnnrec.kernels import attention_triton

    heads, channels, levels = 2, 4, 5
    lists = moved(ragged_lists(ROWS, COLUMNS, LONGEST[device], torch.float32, row_scale=False), device)
    level = torch.zeros(lists.entry.numel(), dtype=torch.uint8, device=device)
    senders, receivers = (COLUMNS, ROWS) if to_users else (ROWS, COLUMNS)
    shapes = (senders, heads * channels), (senders, heads * channels), (senders, heads), (receivers, heads)
    tables = [torch.zeros(*shape, device=device) for shape in (*shapes, (levels, heads), (receivers, heads))]
    gradient = [torch.zeros(*shape, device=device) for shape in ((receivers, heads * channels), (receivers, heads, 5))]
    edges = lists.pointer, lists.entry, lists.factor, level, lists.by_column, COLUMNS
    calls = {
        "largest": (tables[2], tables[4], (*edges[:2], *edges[3:]), to_users),
        "sums": (tables, edges, WEIGHT, SLOPE, to_users, levels),
        "gradients": (gradient, tables, edges, WEIGHT, SLOPE, to_users),
    }
    counts = {}
    for name, arguments in calls.items():
        with recording() as kernels, Operators() as operators:
            getattr(attention_triton, name)(*arguments)
        counts[name] = len(kernels) + operators.launched
    assert counts == {"largest": 2, "sums": 2, "gradients": 6}


class Operators(TorchDispatchMode):
    """Context that counts torch's operators but for views and memory."""

    def __init__(self) -> None:
        super().__init__()
        self.launched = 0

    def __torch_dispatch__(self, operator, types: tuple, args: tuple = (), kwargs: dict | None = None):
        self.launched += operator.overloadpacket.__name__ not in VIEWS
        return operator(*args, **(kwargs or {}))


def run_cases(device: str) -> dict[str, Callable]:
    known = ATTENTION | (ONLY_ON_GPUS if device == "cuda" else {})
    logits = {"largest float64 2": (torch.float64, 2, True), "largest float32 3": (torch.float32, 3, False)}
    cases = {name: functools.partial(sums, to_users, case) for name, (to_users, case) in WIDE.items()}
    for way, to_users in WAYS.items():
        cases |= {f"{way} {name}": functools.partial(sums, to_users, case) for name, case in known.items()}
        cases |= {f"{way} {name}": functools.partial(largest, to_users, case) for name, case in logits.items()}
        cases |= {
            f"{way} {function.__name__}": functools.partial(function, to_users)
            for function in (softmax, no_edges, views_of_wider_tables, launches)
        }
    return {name: functools.partial(case, device) for name, case in cases.items()}


def main(device: str) -> None:
    from gnnrec.kernels import attention_triton, chunks_triton

    chunks_triton.CHUNK = CHUNK[device]
    if device == "cpu":  # The time of the interpreter depends on the number of tiles, not on their sizes.
        attention_triton._HELD = attention_triton._HELD_IN_GRADIENTS = 8192
        attention_triton._MOST_ROWS = 32
    print_errors(run_cases(device))


if __name__ == "__main__":
    main(sys.argv[1])
