"""Messages of some users of a ranking model: their movies, with the weights of message dropout."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import dispatch, user_messages_reference

_KERNELS = dispatch.KernelTable("user_messages", user_messages_reference)


def user_messages(
    users: Tensor,
    pointer: Tensor,
    entries: int,
    every: tuple[Tensor, Tensor, Tensor, Tensor | None],
    stream: int,
    rate: float,
    like: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Selects the movies of some users, and draws weights of inverted message dropout.

    Args:
        users: Rows, int64 ``[n]``.
        pointer: Start of the movies of each of them in the result, int64 ``[n + 1]``.
        entries: Number of movies in the result, which the host knows.
        every: Start of the movies of every user, int64 ``[users + 1]``; movie, int32, and global id, int32 or int64, of
            each edge, and its value, float64, or None for ones, ``[edges]``.
        stream: Key from :func:`gnnrec.rng.key`, a new one for every step.
        rate: Dropout rate, in ``[0, 1)``.
        like: A tensor of the type of weights and values.

    Returns:
        Movies, int32, and global ids, weights, which are 0 for dropped edges and else ``1 / (1 - rate)`` times the
        value, and values or None, ``[entries]`` each.
    """
    return _KERNELS[users.device.type].user_messages(users, pointer, entries, every, stream, rate, like)
