"""Losses and their gradients against dense matrices of users by movies."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from gnnrec.graph.ranking_batch import RankingBatch
from gnnrec.kernels.lists import CSRLists
from gnnrec.models.ranking_losses import bpr_loss, sampled_softmax_loss, softmax_loss, squared_loss

USERS, MOVIES, DIM, DRAWS = 7, 11, 4, 3


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def tables() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple((torch.randn(MOVIES, DIM, generator=generator) * 0.5).requires_grad_() for _ in range(2))


@pytest.fixture
def batch() -> RankingBatch:
    """Batch in which one user likes nothing, some messages are dropped and one negative has weight 0."""
    generator = torch.Generator().manual_seed(1)
    liked = torch.rand(USERS, MOVIES, generator=generator) < 0.4
    liked[2] = False
    owner, movie = liked.nonzero().unbind(1)
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), liked.sum(1).cumsum(0)])
    message_weight = (torch.rand(len(movie), generator=generator) < 0.6) / 0.6
    negatives = torch.stack([(~liked[user]).nonzero().squeeze(1)[:DRAWS] for user in owner]).to(torch.int32)
    negative_weight = torch.ones(len(movie), DRAWS)
    negative_weight[4, 1] = 0
    return RankingBatch(
        CSRLists(pointer, movie.to(torch.int32), MOVIES),
        message_weight.double(),
        torch.rand(USERS, generator=generator) + 0.5,
        negatives,
        negative_weight,
        torch.rand(len(movie), DRAWS, generator=generator),
    )


def dense(batch: RankingBatch, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Returns confidences of liked movies, and scores without own messages: ``[users, movies]`` both."""
    liked, messages = torch.zeros(USERS, MOVIES), torch.zeros(USERS, MOVIES)
    owner, movie = batch.lists.owner.long(), batch.lists.entry.long()
    liked[owner, movie] = torch.ones(len(movie)) if batch.value is None else batch.value
    messages[owner, movie] = batch.message_weight
    off_diagonal = (source @ target.T) * (1 - torch.eye(MOVIES))
    return liked, messages @ off_diagonal


def dense_squared(batch, liked, scores, scale):
    if batch.value is not None:
        liked = liked.index_put((batch.lists.owner.long(), batch.lists.entry.long()), batch.value)
    return ((scores - liked).square().sum(1) * batch.user_weight).sum()


def dense_softmax(batch, liked, scores, scale):
    per_user = (liked * (scale * scores).log_softmax(1)).sum(1) / liked.sum(1).clamp(min=1)
    return -(per_user * batch.user_weight).sum()


def dense_sampled(batch, liked, scores, scale, of_pair):
    total = 0.0
    for edge, (user, movie) in enumerate(zip(batch.lists.owner.tolist(), batch.lists.entry.tolist())):
        kept = batch.negative_weight[edge] > 0
        drawn = scores[user, batch.negatives[edge].long()]
        value = of_pair(scale * scores[user, movie], scale * drawn, batch.negative_share[edge], kept)
        total = total + value * batch.user_weight[user] * liked[user, movie] / liked[user].sum()
    return total


def softmax_pair(positive, negative, share, kept):
    others = negative[kept] - (share[kept] * DRAWS).log()
    return -(positive - torch.cat([positive[None], others]).logsumexp(0))


def bpr_pair(positive, negative, share, kept):
    return (torch.log1p(torch.exp(-(positive - negative))) * kept).sum() / DRAWS


LOSSES = {
    "squared": (lambda s, t, b, c: squared_loss(s, t, b), dense_squared),
    "softmax": (softmax_loss, dense_softmax),
    "sampled softmax": (sampled_softmax_loss, lambda *arguments: dense_sampled(*arguments, softmax_pair)),
    "bpr": (bpr_loss, lambda *arguments: dense_sampled(*arguments, bpr_pair)),
}


def with_confidence(batch: RankingBatch) -> RankingBatch:
    """The same batch, with a confidence of each liked movie, which its message is multiplied with."""
    confidence = 1 + torch.rand(batch.lists.entry.numel(), generator=torch.Generator().manual_seed(5))
    return dataclasses.replace(batch, value=confidence, message_weight=batch.message_weight * confidence)


@pytest.mark.parametrize("confident", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_equal_dense_matrices(name, confident, batch, tables):
    batch = with_confidence(batch) if confident else batch
    loss, oracle = LOSSES[name]
    scale = torch.tensor(1.7, requires_grad=True)
    inputs = [*tables, scale] if name != "squared" else [*tables]
    actual = loss(*tables, batch, scale)
    expected = oracle(batch, *dense(batch, *tables), scale)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-12)
    for mine, theirs in zip(torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
        assert mine.abs().max() > 1e-3


def test_the_squared_loss_wants_values_between_0_and_1(batch, tables):
    batch.value = torch.rand(batch.message_weight.shape, generator=torch.Generator().manual_seed(2))
    batch.message_weight = batch.message_weight * batch.value
    actual, expected = squared_loss(*tables, batch), dense_squared(batch, *dense(batch, *tables), None)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-12)
    for mine, theirs in zip(torch.autograd.grad(actual, tables), torch.autograd.grad(expected, tables), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_no_movie_predicts_itself(name, batch, tables):
    """With orthogonal rows only a movie's own message could raise its score, which would lower the loss."""
    loss, _ = LOSSES[name]
    rows = torch.eye(MOVIES)
    nothing = loss(torch.zeros(MOVIES, MOVIES), rows, batch, torch.tensor(1.0))
    torch.testing.assert_close(loss(rows, rows, batch, torch.tensor(1.0)), nothing)


def test_sampled_softmax_with_all_negatives_equals_softmax(tables):
    """If each movie is drawn once with probability 1 / draws, the correction is zero and the sum complete."""
    liked = torch.tensor([2], dtype=torch.int32)
    others = torch.tensor([[movie for movie in range(MOVIES) if movie != 2]], dtype=torch.int32)
    count = others.shape[1]
    batch = RankingBatch(
        CSRLists(torch.tensor([0, 1]), liked, MOVIES),
        torch.ones(1), torch.ones(1), others, torch.ones(1, count), torch.full((1, count), 1 / count),
    )  # fmt: skip
    scale = torch.tensor(2.0)
    expected = softmax_loss(*tables, batch, scale)
    assert sampled_softmax_loss(*tables, batch, scale).item() == pytest.approx(expected.item(), rel=1e-12)
    assert math.isfinite(expected.item())
