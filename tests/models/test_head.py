"""Rating heads against ``Linear`` on products and a plain network on concatenated vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gnnrec.graph.batch import Targets
from gnnrec.models import head as head_module
from gnnrec.models.head import DotHead, MLPHead

USERS, MOVIES, DIM, HIDDEN = 6, 8, 5, 4
COUNTS = [3, 0, 5, 4, 8, 0]


@pytest.fixture
def vectors() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    users = torch.randn(USERS, DIM, dtype=torch.float64, requires_grad=True)
    return users, torch.randn(MOVIES, DIM, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def biases() -> tuple[Tensor, Tensor]:
    """Biases of users and of movies."""
    generator = torch.Generator().manual_seed(4)
    return tuple(
        torch.randn(count, dtype=torch.float64, generator=generator).requires_grad_() for count in (USERS, MOVIES)
    )


NO_BIASES = torch.zeros(USERS, dtype=torch.float64), torch.zeros(MOVIES, dtype=torch.float64)


def targets_of(counts: list[int]) -> Targets:
    pointer = torch.tensor([0, *counts]).cumsum(0)
    movie = torch.randint(0, MOVIES, (int(pointer[-1]),), generator=torch.Generator().manual_seed(1)).to(torch.int32)
    return Targets(pointer, movie, torch.zeros(len(movie)), max(len(movie), 1))


@pytest.fixture(params=[COUNTS, [0] * USERS, [7, 0, 7, 0, 0, 0]], ids=["some", "none", "two blocks"])
def targets(request) -> Targets:
    return targets_of(request.param)


def pairs_of(targets: Targets) -> tuple[Tensor, Tensor]:
    return torch.repeat_interleave(torch.arange(USERS), targets.pointer.diff()), targets.movie.long()


def assert_same(ours: Tensor, theirs: Tensor, leaves: list[Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    projection = torch.randn_like(ours)
    actual = torch.autograd.grad(ours, leaves, projection)
    for a, b in zip(actual, torch.autograd.grad(theirs, leaves, projection)):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)
    if ours.numel():
        assert all((gradient != 0).any() for gradient in actual)


def test_dot_head_starts_as_a_dot_product(vectors, targets):
    users, movies = vectors
    head = DotHead(DIM).double()
    head.reset()
    user, movie = pairs_of(targets)
    actual = head(users, movies, *NO_BIASES, targets)
    torch.testing.assert_close(actual, torch.einsum("nd,nd->n", users[user], movies[movie]), rtol=1e-12, atol=1e-12)


def test_dot_head_is_a_linear_layer_on_products_with_biases(vectors, biases, targets):
    users, movies = vectors
    head = DotHead(DIM).double()
    user, movie = pairs_of(targets)
    assert_same(
        head(users, movies, *biases, targets),
        head.linear(users[user] * movies[movie]).squeeze(1) + biases[0][user] + biases[1][movie],
        [users, movies, *biases, head.linear.weight],
    )


def network_of(head: MLPHead) -> nn.Sequential:
    """Builds the plain network with the head's weights."""
    network = nn.Sequential(nn.Linear(2 * DIM, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1, bias=False)).double()
    with torch.no_grad():
        network[0].weight.copy_(torch.cat([head.user.weight, head.movie.weight], 1))
        network[0].bias.copy_(head.user.bias)
        network[2].weight.copy_(head.out.weight)
    return network


@pytest.mark.parametrize("block", [7, 65536])
def test_mlp_head_is_a_network_on_concatenated_vectors_with_biases(vectors, biases, targets, block, monkeypatch):
    monkeypatch.setattr(head_module, "BLOCK", block)
    torch.manual_seed(3)
    users, movies = vectors
    head = MLPHead(DIM, HIDDEN).double()
    head.reset()
    network = network_of(head)
    user, movie = pairs_of(targets)
    ours = head(users, movies, *biases, targets)
    theirs = network(torch.cat([users[user], movies[movie]], 1)).squeeze(1) + biases[0][user] + biases[1][movie]
    assert ours.shape == theirs.shape
    assert_same(ours, theirs, [users, movies, *biases])

    projection = torch.randn_like(ours)
    mine = torch.autograd.grad(head(users, movies, *biases, targets), list(head.parameters()), projection)
    named = dict(zip([name for name, _ in head.named_parameters()], mine))
    theirs = network(torch.cat([users[user], movies[movie]], 1)).squeeze(1)
    first, bias, last = torch.autograd.grad(theirs, list(network.parameters()), projection)
    both = torch.cat([named["user.weight"], named["movie.weight"]], 1)
    for a, b in ((both, first), (named["user.bias"], bias), (named["out.weight"], last)):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("make", [lambda: DotHead(DIM), lambda: MLPHead(DIM, HIDDEN)], ids=["dot", "mlp"])
def test_all_movies_equals_the_scores_of_all_pairs(vectors, make):
    users, movies = vectors
    head = make().double()
    every = Targets(
        torch.arange(USERS + 1) * MOVIES,
        torch.arange(MOVIES, dtype=torch.int32).repeat(USERS),
        torch.zeros(USERS * MOVIES),
        USERS * MOVIES,
    )
    actual = head.all_movies(users, movies)
    assert actual.shape == (USERS, MOVIES) and len(actual.unique()) > USERS * MOVIES // 2
    torch.testing.assert_close(actual.flatten(), head(users, movies, *NO_BIASES, every), rtol=1e-12, atol=1e-12)


def test_backward_reads_no_random_state(vectors, biases, monkeypatch):
    """Nothing in the head is random; on GPUs a state that is kept for each block makes the host wait."""
    monkeypatch.setattr(torch, "get_rng_state", lambda: pytest.fail("the state of the random numbers is read"))
    mlp, leaves = MLPHead(DIM, HIDDEN).double(), [*vectors]
    scores = mlp(*vectors, *biases, targets_of(COUNTS))
    assert all(gradient.abs().sum() > 0 for gradient in torch.autograd.grad(scores.sum(), leaves))
