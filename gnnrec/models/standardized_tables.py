"""Tables whose dot products are scores with mean 0 and standard deviation 1 over all movies for each user."""

from __future__ import annotations

import torch
from torch import Tensor


def standardize_tables(message_embedding: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Changes the axes of tables so that the columns of the targets have mean 0 and are orthogonal with variance 1.

    A user's vector is a sum of message embeddings. Its products with the new targets are the old ones less their mean
    over all movies, and the length of the vector is their standard deviation.

    Args:
        message_embedding: Float ``[movies, dim]``.
        target: Float ``[movies, dim]``.

    Returns:
        Both tables, float32 ``[movies, at most dim]``.
    """
    message_embedding, target = message_embedding.double(), target.double()
    centered = target - target.mean(0)
    variance, axes = torch.linalg.eigh(centered.T @ centered / max(len(target), 1))
    variance, axes = variance.flip(0), axes.flip(1)
    kept = variance > variance[:1] * 10 * torch.finfo(torch.float32).eps
    axes, deviation = axes[:, kept], variance[kept].sqrt()
    return (message_embedding @ axes * deviation).float(), (centered @ axes / deviation).float()


def unit_vectors(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Scales vectors to length 1, and returns their lengths before, ``[n, dim]`` and ``[n]``; zeros stay zeros."""
    length = vectors.norm(dim=1)
    return vectors / length.clamp(min=torch.finfo(length.dtype).tiny)[:, None], length
