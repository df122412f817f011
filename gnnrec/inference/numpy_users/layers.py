"""Layers of message passing from movies to one user, with the rescale rule for what each message adds to the result.

A state of the user is a sum of parts: those of the user's own row, of its features, of constants, and of each rating. A
layer's sum of messages is linear in the messages, given their weights (of attention, too), and what it adds from the
user's own state is linear in that state. Behind it is ``tanh``, for which the *Rescale rule* of DeepLIFT is used
(Shrikumar, Greenside and Kundaje, "Learning important features through propagating activation differences", ICML 2017)
with zero as the reference: a part of a channel's input ``x`` becomes the same share of its output, so it is multiplied
by ``tanh(x) / x``. Where ``x`` is nearly 0 that is the derivative, 1. The factor is never above 1, so parts that cancel
in ``x`` do not grow, and they always add up to the state.

Messages of movies do not depend on the user: they are transformed once, for all users, and mapped from files.
"""

from __future__ import annotations

import dataclasses

import numpy as np

#: Rows of parts before those of ratings.
OWN, FEATURES, CONSTANT, RATINGS = 0, 1, 2, 3
#: Inputs of tanh below which its derivative is used.
_ZERO = 1e-8


@dataclasses.dataclass(frozen=True)
class Heard:
    """Messages to one user.

    Attributes:
        movie: Senders, int64 ``[messages]``.
        residual: Standardized ratings minus mean and biases, float64 ``[messages]``.
        level: Rating levels, int64 ``[messages]``.
    """

    movie: np.ndarray
    residual: np.ndarray
    level: np.ndarray


@dataclasses.dataclass(frozen=True)
class UserLayer:
    """One layer, with everything transformed that does not depend on the user.

    Attributes:
        kind: ``gcn``, ``sage`` or ``gat``.
        messages: Value and residual value of each movie, float32 ``[movies, 2, width]``.
        rating: Rating embeddings, float32 ``[levels, width]``.
        bias: float32 ``[channels]``.
        out: Weights behind tanh, float32 ``[dim, channels]``.
        restore_degree: Multiply means by the root of the number of messages (sage, gat).
        self_loops: Add the user's own value (gcn): its message embedding in the first layer, and else its state.
        first: The layer is the first one.
        sender_scale: Factor of the rating embeddings of a movie's messages, float32 ``[movies]`` (gcn).
        root: Weights of the user's own value or state, float32 ``[channels, dim]``; None for the identity (gcn), or for
            none (sage).
        logits: Movies' part of the logits, float32 ``[movies, heads]`` (gat).
        own_logits: What the user's state is multiplied by for logits, float32 ``[dim, heads]``; None for nothing (gat).
        rating_logits: Rating levels' part of the logits, float32 ``[levels, heads]`` (gat).
        concat: Concatenate heads instead of averaging them (gat).
        slope: Slope of logits below zero (gat).
    """

    kind: str
    messages: np.ndarray
    rating: np.ndarray
    bias: np.ndarray
    out: np.ndarray
    restore_degree: bool = False
    self_loops: bool = False
    first: bool = True
    sender_scale: np.ndarray | None = None
    root: np.ndarray | None = None
    logits: np.ndarray | None = None
    own_logits: np.ndarray | None = None
    rating_logits: np.ndarray | None = None
    concat: bool = True
    slope: float = 0.2

    @property
    def reads_user(self) -> bool:
        """Whether the result of tanh depends on the user's own state."""
        return self.self_loops or self.own_logits is not None or (self.kind == "sage" and self.root is not None)

    def next_state(self, state: np.ndarray, own_message: np.ndarray, heard: Heard) -> np.ndarray:
        """Computes the state behind this layer.

        Args:
            state: Parts of the state before it, float64 ``[parts, dim]``: one part for everything, or the user's own
                row, its features, constants and each message.
            own_message: Parts of the message embedding of the user itself, in the same shape or fewer rows.
            heard: The messages.

        Returns:
            Parts in the same shape.
        """
        received, parts = self._received(state, heard), self._of_user(state, own_message, len(heard.movie))
        if len(state) == 1:
            parts[0] += received.sum(0) + self.bias
        else:
            parts[CONSTANT] += self.bias
            parts[RATINGS:] += received
        return state + (parts * _share_of_tanh(parts.sum(0))) @ self.out.T.astype(np.float64)

    def _received(self, state: np.ndarray, heard: Heard) -> np.ndarray:
        """Weighted messages, float64 ``[messages, channels]``, which add up to what is received."""
        count, messages = len(heard.movie), self.messages[heard.movie].astype(np.float64)
        rating = self.rating[heard.level].astype(np.float64)
        if self.sender_scale is not None:
            rating *= self.sender_scale[heard.movie, None]
        values = messages[:, 0] + heard.residual[:, None] * messages[:, 1] + rating
        if self.kind == "gat":
            return self._attended(values, state.sum(0), heard)
        if self.kind == "gcn":
            return values * _inverse_root(count + self.self_loops)
        return values * ((count**0.5 if self.restore_degree else 1.0) / max(count, 1))

    def _attended(self, values: np.ndarray, state: np.ndarray, heard: Heard) -> np.ndarray:
        assert self.logits is not None
        (count, width), heads = values.shape, self.logits.shape[1]
        if not count:
            return np.zeros((0, len(self.bias)))
        logits = self.logits[heard.movie].astype(np.float64)
        if self.own_logits is not None:
            logits += state @ self.own_logits
        if self.rating_logits is not None:
            logits += self.rating_logits[heard.level]
        logits = np.where(logits > 0, logits, self.slope * logits)
        weight = np.exp(logits - logits.max(0))
        weight /= weight.sum(0)
        values = values.reshape(count, heads, width // heads) * weight[:, :, None]
        values = values.reshape(count, -1) if self.concat else values.mean(1)
        return values * count**0.5 if self.restore_degree else values

    def _of_user(self, state: np.ndarray, own_message: np.ndarray, count: int) -> np.ndarray:
        """Contribution of the user's own state to the input of tanh, float64 ``[parts, channels]``."""
        parts = np.zeros((len(state), len(self.bias)))
        if self.kind == "sage" and self.root is not None:
            parts += state @ self.root.T
        elif self.self_loops:
            own = own_message if self.first else state
            own = own if self.root is None else own @ self.root.T
            parts[: len(own)] += own * _inverse_root(count + 1) ** 2
        return parts


def _inverse_root(degree: int) -> float:
    return degree**-0.5 if degree else 0.0


def _share_of_tanh(inputs: np.ndarray) -> np.ndarray:
    """Computes ``tanh(x) / x``, and 1 where ``x`` is nearly 0."""
    usable = np.abs(inputs) > _ZERO
    return np.divide(np.tanh(inputs), inputs, out=np.ones_like(inputs), where=usable)
