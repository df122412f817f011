"""Each layer equals PyG's without ratings, and a dense matrix computation with ratings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import GATConv, GCNConv, SAGEConv

from gnnrec.graph.batch import Messages
from gnnrec.kernels.lists import CSRLists
from gnnrec.models.conv import MessageInputs
from gnnrec.models.layers.gat import BipartiteGATConv
from gnnrec.models.layers.gcn import BipartiteGCNConv
from gnnrec.models.layers.sage import BipartiteSAGEConv

SENDERS, RECEIVERS, EDGES, CHANNELS, OUT, LEVELS = 13, 17, 60, 6, 8, 5


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def edges() -> tuple[Tensor, Tensor]:
    """Distinct edges, senders and receivers; the last receiver has none."""
    pairs = torch.randperm(SENDERS * (RECEIVERS - 1))[:EDGES]
    return pairs % SENDERS, pairs // SENDERS


@pytest.fixture(params=[True, False], ids=["to users", "to movies"])
def to_users(request) -> bool:
    """Whether receivers are users, which have the lists."""
    return request.param


def messages_of(
    sender: Tensor,
    receiver: Tensor,
    to_users: bool,
    carried: Tensor | None = None,
    counted: Tensor | None = None,
    weight: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Messages:
    """Builds messages over COO edges, with random residuals and levels.

    Args:
        sender: Senders, ``[EDGES]``.
        receiver: Receivers, ``[EDGES]``.
        to_users: Receivers are users; otherwise senders are.
        carried: Edges that carry messages, bool ``[EDGES]``; all by default.
        counted: Edges that degrees count, bool ``[EDGES]``; all by default.
        weight: Factor of messages.
        dtype: Type of residuals.
    """
    every = torch.ones(EDGES, dtype=torch.bool)
    carried, counted = (every if mask is None else mask for mask in (carried, counted))
    user, movie = (receiver, sender) if to_users else (sender, receiver)
    users, movies = (RECEIVERS, SENDERS) if to_users else (SENDERS, RECEIVERS)
    residual, level = torch.randn(EDGES, dtype=dtype) * weight, torch.randint(0, LEVELS, (EDGES,)).to(torch.uint8)
    chosen = carried.nonzero().squeeze(1)
    chosen = chosen[torch.argsort(user[chosen], stable=True)]
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(user[chosen], minlength=users).cumsum(0)])
    degree = torch.bincount(receiver[counted], minlength=RECEIVERS).to(dtype)
    return Messages(
        lists=CSRLists(pointer, movie[chosen].to(torch.int32), movies, residual[chosen], weight),
        level=level[chosen],
        num_levels=LEVELS,
        to_users=to_users,
        degree=degree,
        sender_degree=torch.bincount(sender[counted], minlength=SENDERS).to(dtype),
        sampling_scale=None,
        total=degree,
    )


def assert_same(ours: Tensor, theirs: Tensor, pairs: list[tuple[Tensor, Tensor]], tolerance: float = 1e-5) -> None:
    """Compares values, and gradients of a random projection for each pair of inputs or weights."""
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    projection = torch.randn_like(ours)
    mine = torch.autograd.grad((ours * projection).sum(), [a for a, _ in pairs], retain_graph=True)
    other = torch.autograd.grad((theirs * projection).sum(), [b for _, b in pairs], retain_graph=True)
    for a, b in zip(mine, other):
        torch.testing.assert_close(a, b.view_as(a), rtol=tolerance, atol=tolerance)
        assert a.abs().max() > 0


def states(count: int) -> Tensor:
    return torch.randn(count, CHANNELS, requires_grad=True)


def test_sage_equals_pyg(edges, to_users):
    senders, receivers = states(SENDERS), states(RECEIVERS)
    pyg = SAGEConv((CHANNELS, CHANNELS), OUT)
    conv = BipartiteSAGEConv(CHANNELS, OUT, root_weight=True)
    with torch.no_grad():
        conv.lin_value.weight.copy_(pyg.lin_l.weight)
        conv.bias.copy_(pyg.lin_l.bias)
        conv.lin_root.weight.copy_(pyg.lin_r.weight)
    ours = conv(MessageInputs(senders), receivers, messages_of(*edges, to_users), None)
    theirs = pyg((senders, receivers), torch.stack(edges))
    pairs = [
        (senders, senders),
        (receivers, receivers),
        (conv.lin_value.weight, pyg.lin_l.weight),
        (conv.lin_root.weight, pyg.lin_r.weight),
        (conv.bias, pyg.lin_l.bias),
    ]
    assert_same(ours, theirs, pairs)


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("heads", [1, 2])
def test_gat_equals_pyg(edges, to_users, heads, concat):
    senders, receivers = states(SENDERS), states(RECEIVERS)
    pyg = GATConv(
        (CHANNELS, CHANNELS), OUT // heads if concat else OUT, heads=heads, concat=concat, add_self_loops=False
    )
    conv = BipartiteGATConv(CHANNELS, OUT, heads=heads, concat=concat, receiver_channels=CHANNELS)
    with torch.no_grad():
        conv.lin_value.weight.copy_(pyg.lin_src.weight)
        conv.lin_receiver.weight.copy_(pyg.lin_dst.weight)
        conv.att_src.copy_(pyg.att_src[0])
        conv.att_dst.copy_(pyg.att_dst[0])
        conv.bias.copy_(pyg.bias)
    ours = conv(MessageInputs(senders), receivers, messages_of(*edges, to_users), None)
    theirs = pyg((senders, receivers), torch.stack(edges))
    pairs = [
        (senders, senders),
        (conv.lin_value.weight, pyg.lin_src.weight),
        (conv.lin_receiver.weight, pyg.lin_dst.weight),
        (conv.att_src, pyg.att_src),
        (conv.att_dst, pyg.att_dst),
        (conv.bias, pyg.bias),
    ]
    assert_same(ours, theirs, pairs)


@pytest.mark.parametrize("self_loops", [True, False])
def test_gcn_equals_pyg_on_the_homogeneous_view(edges, to_users, self_loops):
    """GCNConv does not support bipartite graphs, so this computes both directions on one node set with tied weights."""
    sender, receiver = edges
    senders, receivers = states(SENDERS), states(RECEIVERS)
    pyg = GCNConv(CHANNELS, OUT, add_self_loops=self_loops)
    conv = BipartiteGCNConv(CHANNELS, OUT, self_loops=self_loops)
    with torch.no_grad():
        conv.lin_value.weight.copy_(pyg.lin.weight)
        conv.bias.copy_(pyg.bias)
    forward = torch.stack([sender, receiver + SENDERS])
    theirs = pyg(torch.cat([senders, receivers]), torch.cat([forward, forward.flip(0)], 1))
    to_receivers = messages_of(*edges, to_users)
    to_senders = to_receivers.reversed()
    ours = torch.cat(
        [
            conv(MessageInputs(receivers), senders, to_senders, None),
            conv(MessageInputs(senders), receivers, to_receivers, None),
        ]
    )
    pairs = [(senders, senders), (receivers, receivers), (conv.lin_value.weight, pyg.lin.weight), (conv.bias, pyg.bias)]
    assert_same(ours, theirs, pairs)


def dense_parts(messages: Messages) -> tuple[Tensor, Tensor, Tensor]:
    """Returns weights and residuals ``[receivers, senders]``, and one-hot levels ``[receivers, senders, levels]``."""
    lists = messages.lists
    user, movie = lists.owner.long(), lists.entry.long()
    receiver, sender = (user, movie) if messages.to_users else (movie, user)
    weight = torch.zeros(RECEIVERS, SENDERS, dtype=lists.factor.dtype)
    residual = torch.zeros_like(weight)
    level = torch.zeros(RECEIVERS, SENDERS, LEVELS, dtype=weight.dtype)
    weight[receiver, sender] = lists.weight
    residual[receiver, sender] = lists.factor
    level[receiver, sender, messages.level.long()] = lists.weight
    return weight, residual, level


def dense_sum(attention: Tensor, value: Tensor, residual_value: Tensor, rating: Tensor, messages: Messages) -> Tensor:
    """Computes ``sum_j attention_ij (value_j + residual_ij residual_value_j + rating[level_ij])``."""
    weight, residual, level = dense_parts(messages)
    return (
        (attention * weight) @ value
        + (attention * residual) @ residual_value
        + torch.einsum("ij,ijl,lc->ic", attention, level, rating)
    )


@pytest.fixture(params=["everything", "some excluded", "some left out"])
def rated(request, edges, to_users) -> Messages:
    """Messages with excluded edges, which degrees do not count, and dropped ones, which degrees count."""
    some = torch.arange(EDGES) % 4 != 0
    carried, counted, weight = {
        "everything": (None, None, 1.0),
        "some excluded": (some, some, 1.0),
        "some left out": (some, None, 4 / 3),
    }[request.param]
    return messages_of(*edges, to_users, carried, counted, weight, torch.float64)


def rated_inputs(conv) -> tuple[Tensor, Tensor, Tensor]:
    conv.double()
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.normal_(0, 0.5)
    make = lambda rows: torch.randn(rows, OUT, dtype=torch.float64, requires_grad=True)  # noqa: E731
    return make(SENDERS), make(SENDERS), make(RECEIVERS)


def assert_rated(conv, dense: Tensor, ours: Tensor, inputs: tuple[Tensor, ...]) -> None:
    leaves = [*inputs, *conv.parameters()]
    assert_same(ours, dense, [(leaf, leaf) for leaf in leaves], tolerance=1e-10)


@pytest.mark.parametrize("self_loops", [True, False])
def test_gcn_with_ratings_equals_dense(rated, self_loops):
    conv = BipartiteGCNConv(None, OUT, LEVELS, scale=1.5, self_loops=self_loops)
    value, residual_value, own = rated_inputs(conv)
    extra = 1.0 if self_loops else 0.0
    d_i, d_j = rated.degree[:, None] + extra, rated.sender_degree[None, :] + extra
    normalized = torch.where((d_i > 0) & (d_j > 0), (d_i * d_j).clamp(min=1e-9) ** -0.5, 0)
    dense = dense_sum(normalized, value * conv.scale, residual_value * conv.scale, conv.rating, rated) + conv.bias
    inputs = (value, residual_value)
    if self_loops:
        dense = dense + own / d_i
        inputs += (own,)
    assert_rated(conv, dense, conv(MessageInputs(value, residual_value), own, rated, None), inputs)


@pytest.mark.parametrize("restore_degree", [True, False])
def test_sage_with_ratings_equals_dense(rated, restore_degree):
    conv = BipartiteSAGEConv(None, OUT, LEVELS, scale=1.5, restore_degree=restore_degree)
    value, residual_value, _ = rated_inputs(conv)
    degree, ones = rated.degree[:, None], torch.ones(RECEIVERS, SENDERS, dtype=torch.float64)
    dense = dense_sum(ones, value * conv.scale, residual_value * conv.scale, conv.rating, rated)
    dense = dense / degree.clamp(min=1) * (degree.sqrt() if restore_degree else 1) + conv.bias
    assert_rated(conv, dense, conv(MessageInputs(value, residual_value), None, rated, None), (value, residual_value))


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("restore_degree", [True, False])
def test_gat_with_ratings_equals_dense(rated, concat, restore_degree):
    heads, width = 2, OUT // 2
    out = OUT if concat else width
    conv = BipartiteGATConv(
        None, out, LEVELS, scale=1.5, heads=heads, concat=concat, receiver_channels=OUT, restore_degree=restore_degree
    )
    value, residual_value, own = rated_inputs(conv)
    weight, _, level = dense_parts(rated)
    scaled, scaled_residual = value * conv.scale, residual_value * conv.scale
    parts = []
    for head in range(heads):
        columns = slice(head * width, (head + 1) * width)
        logit = (scaled[:, columns] @ conv.att_src[head])[None, :]
        logit = logit + (own @ conv.lin_receiver.weight.T)[:, columns] @ conv.att_dst[head][:, None]
        logit = logit + (level > 0).double() @ conv.att_rating[:, head]
        logit = torch.where(logit > 0, logit, 0.2 * logit).masked_fill(weight == 0, -torch.inf)
        # Messages and the sum of their weights are both multiplied by the same weight.
        attention = torch.nan_to_num(torch.softmax(logit, 1), 0) / rated.lists.weight
        parts.append(
            dense_sum(attention, scaled[:, columns], scaled_residual[:, columns], conv.rating[:, columns], rated)
        )
    dense = torch.cat(parts, 1) if concat else torch.stack(parts).mean(0)
    dense = dense * (rated.degree[:, None].sqrt() if restore_degree else 1) + conv.bias
    ours = conv(MessageInputs(value, residual_value), own, rated, None)
    assert_rated(conv, dense, ours, (value, residual_value, own))


def test_gat_logits_of_any_size_stay_finite(edges, to_users):
    messages = messages_of(*edges, to_users)
    conv = BipartiteGATConv(None, OUT, heads=2)
    value = torch.full((SENDERS, OUT), 200.0) * torch.arange(SENDERS).unsqueeze(1)
    with torch.no_grad():
        conv.att_src.fill_(1.0)
    assert conv(MessageInputs(value), None, messages, None).isfinite().all()


def test_only_a_layer_that_computes_its_own_sums_marks_the_use_of_receivers():
    """A sum that replaces the one of GAT may use receivers otherwise; ranks then have to average their gradients."""

    class OtherSums(BipartiteGATConv):
        def partial(self, inputs, receiver, messages, world, shift=None):
            raise NotImplementedError

    class OtherEnd(BipartiteGATConv):
        def finish(self, partial, receiver, messages):
            raise NotImplementedError

    assert BipartiteGATConv.marks_use and OtherEnd.marks_use and not OtherSums.marks_use


@pytest.mark.parametrize("layer", [BipartiteSAGEConv, BipartiteGCNConv])
@pytest.mark.parametrize("num_levels", [0, LEVELS])
def test_sums_of_a_change_are_changes_of_sums(edges, to_users, layer, num_levels):
    messages = messages_of(*edges, to_users)
    old, new = (layer(None, OUT, num_levels) for _ in range(2))
    for conv in (old, new)[: 2 * (num_levels > 0)]:
        torch.nn.init.normal_(conv.rating)
    before, after = (
        MessageInputs(*(torch.randn(SENDERS, OUT) if part else None for part in (True, num_levels > 0)))
        for _ in range(2)
    )
    change = after.minus(before, new.rating - old.rating if num_levels else None)
    expected = new.partial(after, None, messages, None) - old.partial(before, None, messages, None)
    actual = new.partial(change, None, messages, None)
    assert new.linear and expected.numerator.abs().max() > 1
    torch.testing.assert_close(actual.numerator, expected.numerator)


def test_only_a_layer_that_computes_its_own_sums_knows_that_they_are_linear():
    class OtherSums(BipartiteSAGEConv):
        def partial(self, inputs, receiver, messages, world, shift=None):
            raise NotImplementedError

    assert BipartiteSAGEConv.linear and not OtherSums.linear and not BipartiteGATConv.linear
