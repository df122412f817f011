"""CPU implementation of :mod:`gnnrec.kernels.dropout`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.random_cpu import bits
from gnnrec.kernels.threads import equal_ranges, num_workers, number_type, run_compiled, unsigned


@compiled
def _draw(stream, row, words):
    """Draws the words of a row: four columns per word, 16 bits each."""
    for word in range(len(words)):
        words[word] = bits(stream, np.uint64(row * len(words) + word))


@compiled
def _dropout(stream, rows, threshold, factor, states, first, last, out):
    width = states.shape[1]
    words = np.empty((width + 3) // 4, np.uint64)
    chunks, zero = words.view(np.int16), states.dtype.type(0)
    for i in range(first, last):
        _draw(stream, rows[i], words)
        for c in range(width):
            out[i, c] = states[i, c] * (factor if chunks[c] >= threshold else zero)


@compiled
def _tanh_backward(stream, rows, threshold, factor, gradient, states, first, last, out):
    width = states.shape[1]
    words = np.empty((width + 3) // 4, np.uint64)
    chunks, zero, one = words.view(np.int16), states.dtype.type(0), states.dtype.type(1)
    for i in range(first, last):
        _draw(stream, rows[i], words)
        for c in range(width):
            tanh = states[i, c] / factor
            out[i, c] = gradient[i, c] * (factor if chunks[c] >= threshold else zero) * (one - tanh * tanh)


def _run(loop, states: Tensor, rows: Tensor, stream: int, rate: float, read: list[Tensor], out: Tensor) -> Tensor:
    key, threshold = unsigned(stream), np.int16(round(rate * 65536) - 32768)
    arguments = [key, rows, threshold, number_type(states)(1 / (1 - rate)), *map(Tensor.contiguous, read)]
    run_compiled(loop, equal_ranges(len(states), num_workers(states.numel())), arguments, [out])
    return out


def dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """See :func:`gnnrec.kernels.dropout.dropout`."""
    out = torch.empty_like(states, memory_format=torch.contiguous_format)
    return _run(_dropout, states, rows, stream, rate, [states], out)


def tanh_dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """See :func:`gnnrec.kernels.dropout.tanh_dropout`."""
    out = states.tanh().contiguous()
    return _run(_dropout, out, rows, stream, rate, [out], out)


def tanh_dropout_backward(gradient: Tensor, out: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """See :func:`gnnrec.kernels.dropout_reference.tanh_dropout_backward`."""
    return _run(_tanh_backward, out, rows, stream, rate, [gradient, out], torch.empty_like(out))
