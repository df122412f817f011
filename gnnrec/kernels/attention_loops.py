"""Compiled loops of :mod:`gnnrec.kernels.attention_cpu`: one head, users one by one.

The weights of one user's edges fit into the cache, so they are computed first, vectorized. ``own`` are logits of users
and ``other`` logits of movies, whichever side sends. Tables of movies hold one head only, because rows that are read at
random should be short and packed. With factors, such a row has values first and then second values.

A slice of an array costs two atomic increments, and a signed index a check for counting from the end. So no loop over
users takes slices, and positions of edges are unsigned.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.exponential_cpu import exponentials
from gnnrec.kernels.simd import add, load, multiply, scale, store, total, zeros


@compiled
def largest_of_lists(pointer, entry, level, other, rating, first, last, out):
    for user in range(first, last):
        for head in range(out.shape[1]):
            largest = out[user, head]
            for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
                logit = other[np.uint32(entry[edge]), head]
                if rating is not None:
                    logit += rating[level[edge], head]
                largest = max(largest, logit)
            out[user, head] = largest


@compiled
def largest_of_entries(pointer, entry, level, own, rating, first, last, out):
    for user in range(first, last):
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            movie = np.uint32(entry[edge])
            for head in range(out.shape[1]):
                logit = own[user, head]
                if rating is not None:
                    logit += rating[level[edge], head]
                out[movie, head] = max(out[movie, head], logit)


@compiled
def _longest(pointer, first, last):
    longest = 0
    for user in range(first, last):
        longest = max(longest, pointer[user + 1] - pointer[user])
    return longest


@compiled
def _weigh(begin, end, entry, level, own, other, rating, own_shift, shift, slope, weights, slopes):
    """Computes the weights of a user's edges, and derivatives of the leaky ReLU unless ``slopes`` is None."""
    zero, one = weights.dtype.type(0), weights.dtype.type(1)
    for edge in range(begin, end):
        movie, at = np.uint32(entry[edge]), edge - begin
        logit = own + other[movie]
        if rating is not None:
            logit += rating[level[edge]]
        # Signs are random: a branch would be mispredicted every other time.
        activated = max(logit, zero) + slope * min(logit, zero)
        weights[at] = activated - (own_shift if shift is None else shift[movie])
        if slopes is not None:
            slopes[at] = slope + (one - slope) * weights.dtype.type(logit > zero)
    exponentials(weights, end - begin)


@compiled
def _logit_gradients(
    begin, end, entry, level, weights, slopes, grad_weights, grad_kinds, own_row, grad_other, grad_rating
):
    """Adds gradients of logits, from gradients of weights through values and by level; returns the sum."""
    kinds, zero = grad_kinds.shape[1], weights.dtype.type(0)
    total_gradient = zero
    for edge in range(begin, end):
        movie, at = np.uint32(entry[edge]), edge - begin
        kind = level[edge] if level is not None and kinds > 1 else np.uint8(0)
        grad_weight, grad_weights[at] = grad_weights[at], zero
        grad_weight += grad_kinds[movie if own_row is None else own_row, kind]
        grad_logit = grad_weight * weights[at] * slopes[at]
        total_gradient += grad_logit
        grad_other[movie] += grad_logit
        grad_rating[level[edge] if level is not None else np.uint8(0)] += grad_logit
    return total_gradient


@functools.cache
def kernels(lanes: int) -> SimpleNamespace:
    """Compiles the loops for heads whose number of columns is a multiple of ``lanes``."""

    @compiled
    def gather(
        head, pointer, entry, factor, level, own, other, rating, shift, slope, inverse, table,
        first, last, out, kinds_out,
    ):  # fmt: skip
        kinds, weights = kinds_out.shape[2], np.empty(_longest(pointer, first, last), own.dtype)
        channels = out.shape[1] // kinds_out.shape[1]
        for user in range(first, last):
            begin, end = np.uint64(pointer[user]), np.uint64(pointer[user + 1])
            _weigh(
                begin, end, entry, level, own[user, head], other, rating, shift[user, head], None, slope, weights, None
            )
            for edge in range(begin, end):
                kind = level[edge] if level is not None and kinds > 1 else np.uint8(0)
                kinds_out[user, head, kind] += weights[edge - begin]
            for tile in range(0, channels, lanes):
                received = zeros(table, lanes)
                for edge in range(begin, end):
                    movie = np.uint32(entry[edge])
                    sent = load(table, movie, tile, lanes)
                    if factor is not None:
                        rated = factor[edge] * inverse
                        sent = add(sent, scale(rated, load(table, movie, channels + tile, lanes)))
                    received = add(received, scale(weights[edge - begin], sent))
                store(out, user, head * channels + tile, received)

    @compiled
    def scatter(
        head, pointer, entry, factor, level, own, other, rating, shift, slope, inverse, value, second,
        first, last, out, kinds_out,
    ):  # fmt: skip
        kinds, weights = kinds_out.shape[1], np.empty(_longest(pointer, first, last), own.dtype)
        channels = out.shape[1]
        for user in range(first, last):
            begin, end = np.uint64(pointer[user]), np.uint64(pointer[user + 1])
            _weigh(begin, end, entry, level, own[user, head], other, rating, None, shift, slope, weights, None)
            for edge in range(begin, end):
                kind = level[edge] if level is not None and kinds > 1 else np.uint8(0)
                kinds_out[np.uint32(entry[edge]), kind] += weights[edge - begin]
            for tile in range(0, channels, lanes):
                at = head * channels + tile
                plain = load(value, user, at, lanes)
                for edge in range(begin, end):
                    movie, sent = np.uint32(entry[edge]), plain
                    if factor is not None:
                        rated = factor[edge] * inverse
                        sent = add(sent, scale(rated, load(second, user, at, lanes)))
                    store(
                        out,
                        movie,
                        tile,
                        add(load(out, movie, tile, lanes), scale(weights[edge - begin], sent)),
                    )

    @compiled
    def gather_gradients(
        head, pointer, entry, factor, level, own, other, rating, shift, slope, inverse, table, grad_sums, grad_kinds,
        first, last, grad_table, grad_own, grad_other, grad_rating,
    ):  # fmt: skip
        channels, longest = grad_sums.shape[1] // own.shape[1], _longest(pointer, first, last)
        weights, slopes, grad_weights = (
            np.empty(longest, own.dtype),
            np.empty(longest, own.dtype),
            np.zeros(longest, own.dtype),
        )
        for user in range(first, last):
            begin, end = np.uint64(pointer[user]), np.uint64(pointer[user + 1])
            _weigh(
                begin,
                end,
                entry,
                level,
                own[user, head],
                other,
                rating,
                shift[user, head],
                None,
                slope,
                weights,
                slopes,
            )
            for tile in range(0, channels, lanes):
                gradient = load(grad_sums, user, head * channels + tile, lanes)
                for edge in range(begin, end):
                    movie, weight = np.uint32(entry[edge]), weights[edge - begin]
                    sent = load(table, movie, tile, lanes)
                    store(grad_table, movie, tile, add(load(grad_table, movie, tile, lanes), scale(weight, gradient)))
                    if factor is not None:
                        rated, at = factor[edge] * inverse, channels + tile
                        sent = add(sent, scale(rated, load(table, movie, at, lanes)))
                        kept = load(grad_table, movie, at, lanes)
                        store(grad_table, movie, at, add(kept, scale(weight * rated, gradient)))
                    grad_weights[edge - begin] += total(multiply(gradient, sent))
            grad_own[user, head] = _logit_gradients(
                begin,
                end,
                entry,
                level,
                weights,
                slopes,
                grad_weights,
                grad_kinds,
                user * own.shape[1] + head,
                grad_other,
                grad_rating,
            )

    @compiled
    def scatter_gradients(
        head, pointer, entry, factor, level, own, other, rating, shift, slope, inverse, value, second, grad_sums,
        grad_kinds, first, last, grad_value, grad_second, grad_own, grad_other, grad_rating,
    ):  # fmt: skip
        channels, longest = grad_sums.shape[1], _longest(pointer, first, last)
        weights, slopes, grad_weights = (
            np.empty(longest, own.dtype),
            np.empty(longest, own.dtype),
            np.zeros(longest, own.dtype),
        )
        for user in range(first, last):
            begin, end = np.uint64(pointer[user]), np.uint64(pointer[user + 1])
            _weigh(begin, end, entry, level, own[user, head], other, rating, None, shift, slope, weights, slopes)
            for tile in range(0, channels, lanes):
                at = head * channels + tile
                plain, grad_plain, grad_rated = load(value, user, at, lanes), zeros(value, lanes), zeros(value, lanes)
                for edge in range(begin, end):
                    sent, gradient = plain, load(grad_sums, np.uint32(entry[edge]), tile, lanes)
                    weighted = scale(weights[edge - begin], gradient)
                    grad_plain = add(grad_plain, weighted)
                    if factor is not None:
                        rated = factor[edge] * inverse
                        sent = add(sent, scale(rated, load(second, user, at, lanes)))
                        grad_rated = add(grad_rated, scale(rated, weighted))
                    grad_weights[edge - begin] += total(multiply(gradient, sent))
                store(grad_value, user, at, grad_plain)
                if factor is not None:
                    store(grad_second, user, at, grad_rated)
            grad_own[user, head] = _logit_gradients(
                begin, end, entry, level, weights, slopes, grad_weights, grad_kinds, None, grad_other, grad_rating
            )

    return SimpleNamespace(
        gather=gather, scatter=scatter, gather_gradients=gather_gradients, scatter_gradients=scatter_gradients
    )
