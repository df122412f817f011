"""Reference implementation of :mod:`gnnrec.kernels.attention_output` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def output(numerator: Tensor, denominator: Tensor, degree: Tensor | None, bias: Tensor) -> Tensor:
    """See :func:`gnnrec.kernels.attention_output.attention_output`."""
    return _by_head(numerator, denominator).mul(_factor(denominator, degree)[:, :, None]).flatten(1) + bias


def output_backward(
    gradient: Tensor, numerator: Tensor, denominator: Tensor, degree: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Computes the derivatives of :func:`output` by numerators and denominators."""
    factor, gradient = _factor(denominator, degree), _by_head(gradient, denominator)
    by_factor = (gradient * _by_head(numerator, denominator)).sum(2)
    by_denominator = torch.where(denominator > 0, -by_factor * factor / denominator, 0)
    return (gradient * factor[:, :, None]).flatten(1), by_denominator


def kept(whole: Tensor, change: Tensor) -> Tensor:
    """See :func:`gnnrec.kernels.attention_output.kept_denominator`."""
    return torch.maximum(whole + change, 0.5 * whole)


def kept_backward(gradient: Tensor, whole: Tensor, kept: Tensor) -> Tensor:
    """Computes the derivative of :func:`kept` by the change: none where half of the whole is the maximum."""
    return torch.where(kept > 0.5 * whole, gradient, 0)


def totals(numerator: Tensor, by_level: Tensor, rating: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.attention_output.attention_totals`."""
    heads = by_level.shape[1]
    per_head = rating.view(len(rating), heads, rating.shape[1] // heads)
    numerator = numerator + torch.einsum("ihl,lhc->ihc", by_level, per_head).flatten(1)
    denominator = by_level.sum(2)
    return (numerator, denominator) if scale is None else (numerator * scale[:, None], denominator * scale[:, None])


def totals_backward(
    gradient: Tensor, denominator_gradient: Tensor, rating: Tensor, scale: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Computes the derivatives of :func:`totals` by numerators and by attention by level."""
    heads = denominator_gradient.shape[1]
    if scale is not None:
        gradient, denominator_gradient = gradient * scale[:, None], denominator_gradient * scale[:, None]
    per_head = rating.view(len(rating), heads, rating.shape[1] // heads)
    by_level = torch.einsum("ihc,lhc->ihl", _by_head(gradient, denominator_gradient), per_head)
    return gradient.clone(), by_level + denominator_gradient[:, :, None]


def _by_head(table: Tensor, denominator: Tensor) -> Tensor:
    heads = denominator.shape[1]
    return table.reshape(len(table), heads, table.shape[1] // heads)


def _factor(denominator: Tensor, degree: Tensor | None) -> Tensor:
    share = torch.where(denominator > 0, denominator, 1).reciprocal()
    return share if degree is None else share * degree.sqrt()[:, None]
