"""Compiled loops behind :mod:`gnnrec.kernels.attention_cpu`: users one by one, heads one by one.

The weights of one user's edges fit into the cache, so they are computed first, many at a time. ``own`` is what users
have and ``other`` what movies have, whichever of them sends. ``shift`` belongs to receivers.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
from numba import njit

from gnnrec.kernels.exponential_cpu import exponentials
from gnnrec.kernels.simd import OPTIONS, add, load, multiply, scale, store, total, zeros


@njit(**OPTIONS)
def largest_of_lists(pointer, entry, level, other, rating, first, last, out):
    for user in range(first, last):
        for head in range(out.shape[1]):
            found = out[user, head]
            for edge in range(pointer[user], pointer[user + 1]):
                logit = other[np.uint32(entry[edge]), head]
                if rating is not None:
                    logit += rating[level[edge], head]
                found = max(found, logit)
            out[user, head] = found


@njit(**OPTIONS)
def largest_of_entries(pointer, entry, level, own, rating, first, last, out):
    for user in range(first, last):
        for edge in range(pointer[user], pointer[user + 1]):
            movie = np.uint32(entry[edge])
            for head in range(out.shape[1]):
                logit = own[user, head]
                if rating is not None:
                    logit += rating[level[edge], head]
                out[movie, head] = max(out[movie, head], logit)


@njit(**OPTIONS)
def _longest(pointer, first, last):
    longest = 0
    for user in range(first, last):
        longest = max(longest, pointer[user + 1] - pointer[user])
    return longest


@njit(**OPTIONS)
def _weigh(entry, level, user, head, own, other, rating, shift, to_users, slope, weights, slopes):
    """Weights of the edges of a user, and derivatives of the leaky ReLU unless ``slopes`` is None."""
    for edge in range(len(entry)):
        movie = np.uint32(entry[edge])
        logit = own[user, head] + other[movie, head]
        if rating is not None:
            logit += rating[level[edge], head]
        bent = logit if logit > 0 else slope * logit
        weights[edge] = bent - (shift[user, head] if to_users else shift[movie, head])
        if slopes is not None:
            slopes[edge] = weights.dtype.type(1) if logit > 0 else slope
    exponentials(weights)


@njit(**OPTIONS)
def _logit_gradients(
    entry, level, user, head, to_users, weights, slopes, effects, of_kinds, for_own, for_other, for_rating
):
    """What ``effects``, the derivatives by weights as far as values go, mean for the logits."""
    kinds, levels, found = of_kinds.shape[2], for_rating.shape[0], weights.dtype.type(0)
    for edge in range(len(entry)):
        movie = np.uint32(entry[edge])
        kind = level[edge] if level is not None and kinds > 1 else 0
        effect = effects[edge] + of_kinds[user if to_users else movie, head, kind]
        of_logit = effect * weights[edge] * slopes[edge]
        found += of_logit
        for_other[movie, head] += of_logit
        for_rating[level[edge] if level is not None and levels > 1 else 0, head] += of_logit
    for_own[user, head] = found


@functools.cache
def kernels(lanes: int) -> SimpleNamespace:
    """The loops for tables where the number of columns of a head is a multiple of ``lanes``."""

    @njit(**OPTIONS)
    def gather(
        value, second, pointer, entry, factor, level, own, other, rating, shift, slope, inverse,
        first, last, out, kinds_out,
    ):  # fmt: skip
        heads, kinds = kinds_out.shape[1:]
        channels, scratch = value.shape[1] // heads, np.empty(_longest(pointer, first, last), own.dtype)
        for head in range(heads):
            for user in range(first, last):
                begin, end = pointer[user], pointer[user + 1]
                movies, weights = entry[begin:end], scratch[: end - begin]
                levels = None if level is None else level[begin:end]
                _weigh(movies, levels, user, head, own, other, rating, shift, True, slope, weights, None)
                for edge in range(len(movies)):
                    kind = levels[edge] if levels is not None and kinds > 1 else 0
                    kinds_out[user, head, kind] += weights[edge]
                for tile in range(head * channels, (head + 1) * channels, lanes):
                    found = zeros(value, lanes)
                    for edge in range(len(movies)):
                        movie = np.uint32(movies[edge])
                        sent = load(value, movie, tile, lanes)
                        if second is not None:
                            rated = factor[begin + edge] * inverse
                            sent = add(sent, scale(rated, load(second, movie, tile, lanes)))
                        found = add(found, scale(weights[edge], sent))
                    store(out, user, tile, found)

    @njit(**OPTIONS)
    def scatter(
        value, second, pointer, entry, factor, level, own, other, rating, shift, slope, inverse,
        first, last, out, kinds_out,
    ):  # fmt: skip
        heads, kinds = kinds_out.shape[1:]
        channels, scratch = value.shape[1] // heads, np.empty(_longest(pointer, first, last), own.dtype)
        for head in range(heads):
            for user in range(first, last):
                begin, end = pointer[user], pointer[user + 1]
                movies, weights = entry[begin:end], scratch[: end - begin]
                levels = None if level is None else level[begin:end]
                _weigh(movies, levels, user, head, own, other, rating, shift, False, slope, weights, None)
                for edge in range(len(movies)):
                    kind = levels[edge] if levels is not None and kinds > 1 else 0
                    kinds_out[np.uint32(movies[edge]), head, kind] += weights[edge]
                for tile in range(head * channels, (head + 1) * channels, lanes):
                    plain = load(value, user, tile, lanes)
                    for edge in range(len(movies)):
                        movie, sent = np.uint32(movies[edge]), plain
                        if second is not None:
                            rated = factor[begin + edge] * inverse
                            sent = add(sent, scale(rated, load(second, user, tile, lanes)))
                        kept = load(out, movie, tile, lanes)
                        store(out, movie, tile, add(kept, scale(weights[edge], sent)))

    @njit(**OPTIONS)
    def gather_gradients(
        value, second, pointer, entry, factor, level, own, other, rating, shift, slope, inverse, of_sums, of_kinds,
        first, last, for_value, for_second, for_own, for_other, for_rating,
    ):  # fmt: skip
        heads, scratch = of_kinds.shape[1], np.empty((3, _longest(pointer, first, last)), own.dtype)
        channels = value.shape[1] // heads
        for head in range(heads):
            for user in range(first, last):
                begin, end = pointer[user], pointer[user + 1]
                count, movies = end - begin, entry[begin:end]
                weights, slopes, effects = scratch[0, :count], scratch[1, :count], scratch[2, :count]
                levels = None if level is None else level[begin:end]
                _weigh(movies, levels, user, head, own, other, rating, shift, True, slope, weights, slopes)
                effects[:] = 0
                for tile in range(head * channels, (head + 1) * channels, lanes):
                    gradient = load(of_sums, user, tile, lanes)
                    for edge in range(count):
                        movie, weight = np.uint32(movies[edge]), weights[edge]
                        sent = load(value, movie, tile, lanes)
                        kept = load(for_value, movie, tile, lanes)
                        store(for_value, movie, tile, add(kept, scale(weight, gradient)))
                        if second is not None:
                            rated = factor[begin + edge] * inverse
                            sent = add(sent, scale(rated, load(second, movie, tile, lanes)))
                            kept = load(for_second, movie, tile, lanes)
                            store(for_second, movie, tile, add(kept, scale(weight * rated, gradient)))
                        effects[edge] += total(multiply(gradient, sent))
                _logit_gradients(
                    movies, levels, user, head, True, weights, slopes, effects, of_kinds,
                    for_own, for_other, for_rating,
                )  # fmt: skip

    @njit(**OPTIONS)
    def scatter_gradients(
        value, second, pointer, entry, factor, level, own, other, rating, shift, slope, inverse, of_sums, of_kinds,
        first, last, for_value, for_second, for_own, for_other, for_rating,
    ):  # fmt: skip
        heads, scratch = of_kinds.shape[1], np.empty((3, _longest(pointer, first, last)), own.dtype)
        channels = value.shape[1] // heads
        for head in range(heads):
            for user in range(first, last):
                begin, end = pointer[user], pointer[user + 1]
                count, movies = end - begin, entry[begin:end]
                weights, slopes, effects = scratch[0, :count], scratch[1, :count], scratch[2, :count]
                levels = None if level is None else level[begin:end]
                _weigh(movies, levels, user, head, own, other, rating, shift, False, slope, weights, slopes)
                effects[:] = 0
                for tile in range(head * channels, (head + 1) * channels, lanes):
                    plain, of_plain, of_rated = load(value, user, tile, lanes), zeros(value, lanes), zeros(value, lanes)
                    for edge in range(count):
                        movie, sent = np.uint32(movies[edge]), plain
                        gradient = load(of_sums, movie, tile, lanes)
                        weighted = scale(weights[edge], gradient)
                        of_plain = add(of_plain, weighted)
                        if second is not None:
                            rated = factor[begin + edge] * inverse
                            sent = add(sent, scale(rated, load(second, user, tile, lanes)))
                            of_rated = add(of_rated, scale(rated, weighted))
                        effects[edge] += total(multiply(gradient, sent))
                    store(for_value, user, tile, of_plain)
                    if second is not None:
                        store(for_second, user, tile, of_rated)
                _logit_gradients(
                    movies, levels, user, head, False, weights, slopes, effects, of_kinds,
                    for_own, for_other, for_rating,
                )  # fmt: skip

    return SimpleNamespace(
        gather=gather, scatter=scatter, gather_gradients=gather_gradients, scatter_gradients=scatter_gradients
    )
