"""Compiled loops behind :mod:`gnnrec.kernels.attention_cpu`: one head, users one by one.

The weights of one user's edges fit into the cache, so they are computed first, many at a time. ``own`` is what users
have and ``other`` what movies have, whichever of them sends. Tables of movies hold one head only: rows that are read
at random should be short and packed. Where there are factors, such a row has values first and then second values.

Two things cost more than they seem to: a slice of an array is two atomic increments, and a signed index is asked
whether it counts from the end. So no loop over users takes slices, and positions of edges are unsigned.
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
            found = out[user, head]
            for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
                logit = other[np.uint32(entry[edge]), head]
                if rating is not None:
                    logit += rating[level[edge], head]
                found = max(found, logit)
            out[user, head] = found


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
    """Weights of a user's edges, and derivatives of the leaky ReLU unless ``slopes`` is None."""
    zero, one = weights.dtype.type(0), weights.dtype.type(1)
    for edge in range(begin, end):
        movie, at = np.uint32(entry[edge]), edge - begin
        logit = own + other[movie]
        if rating is not None:
            logit += rating[level[edge]]
        # Signs are random: a branch would be mispredicted every other time.
        bent = max(logit, zero) + slope * min(logit, zero)
        weights[at] = bent - (own_shift if shift is None else shift[movie])
        if slopes is not None:
            slopes[at] = slope + (one - slope) * weights.dtype.type(logit > zero)
    exponentials(weights, end - begin)


@compiled
def _logit_gradients(begin, end, entry, level, weights, slopes, effects, of_kinds, own_row, for_other, for_rating):
    """What ``effects``, the derivatives by weights as far as values go, mean for the logits; their sum."""
    kinds, zero = of_kinds.shape[1], weights.dtype.type(0)
    found = zero
    for edge in range(begin, end):
        movie, at = np.uint32(entry[edge]), edge - begin
        kind = level[edge] if level is not None and kinds > 1 else np.uint8(0)
        effect, effects[at] = effects[at], zero
        effect += of_kinds[movie if own_row is None else own_row, kind]
        of_logit = effect * weights[at] * slopes[at]
        found += of_logit
        for_other[movie] += of_logit
        for_rating[level[edge] if level is not None else np.uint8(0)] += of_logit
    return found


@functools.cache
def kernels(lanes: int) -> SimpleNamespace:
    """The loops for heads whose number of columns is a multiple of ``lanes``."""

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
                found = zeros(table, lanes)
                for edge in range(begin, end):
                    movie = np.uint32(entry[edge])
                    sent = load(table, movie, tile, lanes)
                    if factor is not None:
                        rated = factor[edge] * inverse
                        sent = add(sent, scale(rated, load(table, movie, channels + tile, lanes)))
                    found = add(found, scale(weights[edge - begin], sent))
                store(out, user, head * channels + tile, found)

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
        head, pointer, entry, factor, level, own, other, rating, shift, slope, inverse, table, of_sums, of_kinds,
        first, last, for_table, for_own, for_other, for_rating,
    ):  # fmt: skip
        channels, longest = of_sums.shape[1] // own.shape[1], _longest(pointer, first, last)
        weights, slopes, effects = (
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
                gradient = load(of_sums, user, head * channels + tile, lanes)
                for edge in range(begin, end):
                    movie, weight = np.uint32(entry[edge]), weights[edge - begin]
                    sent = load(table, movie, tile, lanes)
                    store(for_table, movie, tile, add(load(for_table, movie, tile, lanes), scale(weight, gradient)))
                    if factor is not None:
                        rated, at = factor[edge] * inverse, channels + tile
                        sent = add(sent, scale(rated, load(table, movie, at, lanes)))
                        kept = load(for_table, movie, at, lanes)
                        store(for_table, movie, at, add(kept, scale(weight * rated, gradient)))
                    effects[edge - begin] += total(multiply(gradient, sent))
            for_own[user, head] = _logit_gradients(
                begin,
                end,
                entry,
                level,
                weights,
                slopes,
                effects,
                of_kinds,
                user * own.shape[1] + head,
                for_other,
                for_rating,
            )

    @compiled
    def scatter_gradients(
        head, pointer, entry, factor, level, own, other, rating, shift, slope, inverse, value, second, of_sums,
        of_kinds, first, last, for_value, for_second, for_own, for_other, for_rating,
    ):  # fmt: skip
        channels, longest = of_sums.shape[1], _longest(pointer, first, last)
        weights, slopes, effects = (
            np.empty(longest, own.dtype),
            np.empty(longest, own.dtype),
            np.zeros(longest, own.dtype),
        )
        for user in range(first, last):
            begin, end = np.uint64(pointer[user]), np.uint64(pointer[user + 1])
            _weigh(begin, end, entry, level, own[user, head], other, rating, None, shift, slope, weights, slopes)
            for tile in range(0, channels, lanes):
                at = head * channels + tile
                plain, of_plain, of_rated = load(value, user, at, lanes), zeros(value, lanes), zeros(value, lanes)
                for edge in range(begin, end):
                    sent, gradient = plain, load(of_sums, np.uint32(entry[edge]), tile, lanes)
                    weighted = scale(weights[edge - begin], gradient)
                    of_plain = add(of_plain, weighted)
                    if factor is not None:
                        rated = factor[edge] * inverse
                        sent = add(sent, scale(rated, load(second, user, at, lanes)))
                        of_rated = add(of_rated, scale(rated, weighted))
                    effects[edge - begin] += total(multiply(gradient, sent))
                store(for_value, user, at, of_plain)
                if factor is not None:
                    store(for_second, user, at, of_rated)
            for_own[user, head] = _logit_gradients(
                begin, end, entry, level, weights, slopes, effects, of_kinds, None, for_other, for_rating
            )

    return SimpleNamespace(
        gather=gather, scatter=scatter, gather_gradients=gather_gradients, scatter_gradients=scatter_gradients
    )
