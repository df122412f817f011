"""CPU implementation of :mod:`gnnrec.kernels.sampling`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.neighbor_lists import Picked
from gnnrec.kernels.ragged import offsets
from gnnrec.kernels.random_cpu import bits
from gnnrec.kernels.threads import array, balanced_ranges, num_workers, run_compiled, unsigned


@compiled
def _below(stream, counter, below):
    return np.int64(((bits(stream, np.uint64(counter)) >> np.uint64(33)) * np.uint64(below)) >> np.uint64(31))


@compiled
def _draw(stream, ids, degree, fan_out, pointer, first, last, node, position):
    for i in range(first, last):
        length, out = degree[i], pointer[i]
        if fan_out < 0 or length <= fan_out:
            for number in range(length):
                node[out + number], position[out + number] = i, number
            continue
        counter = ids[i] * (fan_out + 1)
        rotation = _below(stream, counter + fan_out, length)
        begin = 0
        for number in range(fan_out):
            end = (number + 1) * length // fan_out
            place = begin + _below(stream, counter + number, end - begin) + rotation
            node[out + number], position[out + number] = i, place - length if place >= length else place
            begin = end


def draw(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.draw`."""
    pointer = offsets(degree if fan_out < 0 else degree.clamp(max=fan_out))
    node, position = torch.empty(2, int(pointer[-1]), dtype=torch.int64)
    ranges = balanced_ranges(array(pointer), num_workers(node.numel()))
    run_compiled(_draw, ranges, [unsigned(stream), ids, degree, fan_out, pointer], [node, position])
    return node, position


@compiled
def _count(row, edge, slot, drawn_slot, pointer):
    for at in range(len(row)):
        drawn_slot[at] = slot[edge[at]]
        pointer[row[at] + 1] += drawn_slot[at] >= 0
    for n in range(1, len(pointer)):
        pointer[n] += pointer[n - 1]


@compiled
def _pick(row, drawn_slot, next_place, movie, residual, level, out_movie, out_residual, out_level):
    for at in range(len(row)):
        message = drawn_slot[at]
        if message >= 0:
            place = next_place[row[at]]
            next_place[row[at]] = place + 1
            out_movie[place], out_residual[place], out_level[place] = movie[message], residual[message], level[message]


def pick(
    draws: list[tuple[Tensor, Tensor]],
    slot: Tensor,
    rows: int,
    columns: int,
    movie: Tensor,
    residual: Tensor,
    level: Tensor,
) -> list[Picked]:
    """See :func:`gnnrec.kernels.sampling.pick`. A counting sort: draws keep their order within a list."""
    return [_pick_set(row, edge, slot, rows, movie, residual, level) for row, edge in draws]


def _pick_set(
    row: Tensor, edge: Tensor, slot: Tensor, rows: int, movie: Tensor, residual: Tensor, level: Tensor
) -> Picked:
    pointer, drawn_slot = torch.zeros(rows + 1, dtype=torch.int64), torch.empty(row.numel(), dtype=torch.int32)
    _count(array(row), array(edge), array(slot), array(drawn_slot), array(pointer))
    count = int(pointer[-1])
    out = [tensor.new_empty(count) for tensor in (movie, residual, level)]
    read = [array(tensor) for tensor in (movie, residual, level)]
    _pick(array(row), array(drawn_slot), array(pointer[:-1].clone()), *read, *(array(tensor) for tensor in out))
    return Picked(pointer, *out)
