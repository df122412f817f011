"""Draws of neighbors, compiled and in plain torch, against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec import rng
from gnnrec.kernels import dispatch
from gnnrec.kernels.sampling import draw, draw_slots, pick
from tests.kernels.neighbor_examples import Example, neighbor_lists


@pytest.fixture(params=["cpu", "reference"])
def implementation(request, several_threads):
    with dispatch.forced(request.param):
        yield


def expected_draws(stream: int, ids: list[int], degrees: list[int], fan_out: int) -> list[tuple[int, int]]:
    """Draws one position in each of ``fan_out`` intervals of a list, and rotates them together."""

    def integer(counter: int, below: int) -> int:
        return int(rng.integers(stream, torch.tensor([counter]), below))

    actual = []
    for node, (name, degree) in enumerate(zip(ids, degrees)):
        if fan_out < 0 or degree <= fan_out:
            actual += [(node, position) for position in range(degree)]
            continue
        rotation = integer(name * (fan_out + 1) + fan_out, degree) if fan_out else 0
        for number in range(fan_out):
            begin, end = number * degree // fan_out, (number + 1) * degree // fan_out
            place = begin + integer(name * (fan_out + 1) + number, end - begin)
            actual.append((node, (place + rotation) % degree))
    return actual


@pytest.mark.parametrize("fan_out", [-1, 0, 1, 3, 10, 1000])
def test_draws_equal_the_definition(implementation, fan_out):
    random = np.random.default_rng(0)
    degrees = [0, 1, 3, 4, 500, 10, 11, *random.integers(0, 60, 40).tolist()]
    ids = random.integers(0, 2**33, len(degrees)).tolist()
    stream = rng.key(3, "neighbours", fan_out)
    node, position = draw(stream, torch.tensor(ids), torch.tensor(degrees), fan_out)
    assert node.dtype == position.dtype == torch.int64
    assert list(zip(node.tolist(), position.tolist())) == expected_draws(stream, ids, degrees, fan_out)


@pytest.mark.parametrize("fan_out", [0, 1, 3, 10, 1000])
@pytest.mark.parametrize("part", [False, True])
def test_slots_have_the_draws_of_a_node_and_are_empty_otherwise(implementation, fan_out, part):
    example = neighbor_lists(part)
    stream, nodes = rng.key(3, "neighbours", fan_out), torch.tensor([11, 0, 3, 4, 6, 1, 20])
    actual = draw_slots(stream, nodes, 2**33, example.lists, fan_out, -7)
    assert all(tensor.dtype == torch.int64 for tensor in actual)
    assert list(zip(*(tensor.tolist() for tensor in actual))) == slots_of(example, stream, nodes, 2**33, fan_out, -7)


def slots_of(
    example: Example, stream: int, nodes: torch.Tensor, first: int, fan_out: int, missing: int
) -> list[tuple[int, int, int]]:
    """Node, edge and neighbor of each slot, from draws of whole lists."""
    rows = nodes.tolist()
    draws = expected_draws(stream, (nodes + first).tolist(), [example.whole[row] for row in rows], fan_out)
    slots = []
    for number, row in enumerate(rows):
        places = [position for node, position in draws if node == number]
        places += [None] * (fan_out - len(places))
        slots += [(row, *example.own[row].get(place, (-1, missing))) for place in places]
    return slots


def test_no_nodes_have_no_draws(implementation):
    nothing = torch.zeros(0, dtype=torch.int64)
    for fan_out in (-1, 3):
        assert [tensor.numel() for tensor in draw(1, nothing, nothing, fan_out)] == [0, 0]


def messages_of_lists(row: np.ndarray, edge: np.ndarray, slot: np.ndarray, rows: int) -> list[list[int]]:
    """Messages of each list; the edge of an empty slot is -1."""
    return [[slot[e] for r, e in zip(row, edge) if r == number and e >= 0 and slot[e] >= 0] for number in range(rows)]


@pytest.mark.parametrize("draws", [0, 1, 400])
def test_pick_keeps_the_messages_among_draws_in_order(implementation, draws):
    check_pick(draws, 0)


@pytest.mark.parametrize("draws", [1, 400])
def test_pick_skips_empty_slots_of_devices(draws):
    with dispatch.forced("reference"):
        check_pick(draws, -1)


def check_pick(draws: int, lowest_edge: int) -> None:
    """Picks from two sets of draws with edges from ``lowest_edge``."""
    random = np.random.default_rng(draws)
    rows, edges, messages = 13, 50, 31
    slot = np.full(edges, -1)
    slot[np.sort(random.choice(edges, messages, replace=False))] = np.arange(messages)
    # The last list has no draws.
    sets = [
        (random.integers(0, rows - 1, count), random.integers(lowest_edge, edges, count))
        for count in (draws, draws // 2)
    ]
    sets = [(np.where(edge < 0, -1, row), edge) for row, edge in sets]
    movie, level = torch.arange(messages, dtype=torch.int32) * 3, torch.arange(messages).to(torch.uint8)
    residual = torch.from_numpy(random.normal(size=messages))
    results = pick(
        [(torch.from_numpy(row), torch.from_numpy(edge)) for row, edge in sets],
        torch.from_numpy(slot).to(torch.int32),
        rows,
        3 * messages,
        movie,
        residual,
        level,
    )
    for (row, edge), picked in zip(sets, results, strict=True):
        lists = messages_of_lists(row, edge, slot, rows)
        assert picked.pointer.tolist() == [0, *np.cumsum([len(messages_of_list) for messages_of_list in lists])]
        chosen = torch.tensor([place for messages_of_list in lists for place in messages_of_list], dtype=torch.int64)
        for values, source in zip((picked.movie, picked.residual, picked.level), (movie, residual, level), strict=True):
            assert values.dtype == source.dtype and torch.equal(values, source[chosen])
