"""Each layer equals PyG's own with ratings switched off, and a dense matrix computation with ratings on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import GATConv, GCNConv, SAGEConv

from gnnrec.graph.batch import Messages
from gnnrec.kernels.ragged import counting_sort, owners
from gnnrec.models.conv import Sources
from gnnrec.models.gat import BipartiteGATConv
from gnnrec.models.gcn import BipartiteGCNConv
from gnnrec.models.sage import BipartiteSAGEConv

SENDERS, RECEIVERS, EDGES, CHANNELS, OUT, LEVELS = 13, 17, 60, 6, 8, 5


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def edges() -> tuple[Tensor, Tensor]:
    """Distinct edges; the last receiver has none."""
    pairs = torch.randperm(SENDERS * (RECEIVERS - 1))[:EDGES]
    return pairs % SENDERS, pairs // SENDERS


def messages_of(sender: Tensor, receiver: Tensor, weight: Tensor | None = None, dtype=torch.float32) -> Messages:
    """Messages over COO edges, with residuals and levels drawn at random; weight 0 excludes an edge."""
    pointer, order = counting_sort(receiver, RECEIVERS)
    sender = sender[order].to(torch.int32)
    weight = (torch.ones(EDGES, dtype=dtype) if weight is None else weight)[order]
    residual = torch.randn(EDGES, dtype=dtype) * weight
    sender_pointer, by_sender = counting_sort(sender, SENDERS)
    degree = torch.zeros(RECEIVERS, dtype=dtype).index_add_(0, owners(pointer), weight)
    sender_degree = torch.zeros(SENDERS, dtype=dtype).index_add_(0, sender, weight)
    return Messages(
        pointer=pointer,
        sender=sender,
        sender_pointer=sender_pointer,
        receiver=owners(pointer)[by_sender],
        order=by_sender,
        weight=weight,
        weight_by_sender=weight[by_sender],
        residual=residual,
        residual_by_sender=residual[by_sender],
        level=torch.randint(0, LEVELS, (EDGES,)).to(torch.uint8),
        num_levels=LEVELS,
        degree=degree,
        sender_degree=sender_degree,
        inflation=None,
        total=degree,
    )


def assert_same(ours: Tensor, theirs: Tensor, pairs: list[tuple[Tensor, Tensor]], tolerance: float = 1e-5) -> None:
    """Values, and gradients of a random projection by each pair of inputs or weights."""
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    projection = torch.randn_like(ours)
    mine = torch.autograd.grad((ours * projection).sum(), [a for a, _ in pairs], retain_graph=True)
    other = torch.autograd.grad((theirs * projection).sum(), [b for _, b in pairs], retain_graph=True)
    for a, b in zip(mine, other):
        torch.testing.assert_close(a, b.view_as(a), rtol=tolerance, atol=tolerance)
        assert a.abs().max() > 0


def states(count: int) -> Tensor:
    return torch.randn(count, CHANNELS, requires_grad=True)


def test_sage_equals_pyg(edges):
    senders, receivers = states(SENDERS), states(RECEIVERS)
    pyg = SAGEConv((CHANNELS, CHANNELS), OUT)
    conv = BipartiteSAGEConv(CHANNELS, OUT, root_weight=True)
    with torch.no_grad():
        conv.lin_value.weight.copy_(pyg.lin_l.weight)
        conv.bias.copy_(pyg.lin_l.bias)
        conv.lin_root.weight.copy_(pyg.lin_r.weight)
    ours = conv(Sources(senders), receivers, messages_of(*edges), None)
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
def test_gat_equals_pyg(edges, heads, concat):
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
    ours = conv(Sources(senders), receivers, messages_of(*edges), None)
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
def test_gcn_equals_pyg_on_the_homogeneous_view(edges, self_loops):
    """GCNConv refuses bipartite graphs: both directions at once on one node set, with tied weights."""
    sender, receiver = edges
    senders, receivers = states(SENDERS), states(RECEIVERS)
    pyg = GCNConv(CHANNELS, OUT, add_self_loops=self_loops)
    conv = BipartiteGCNConv(CHANNELS, OUT, self_loops=self_loops)
    with torch.no_grad():
        conv.lin_value.weight.copy_(pyg.lin.weight)
        conv.bias.copy_(pyg.bias)
    forward = torch.stack([sender, receiver + SENDERS])
    theirs = pyg(torch.cat([senders, receivers]), torch.cat([forward, forward.flip(0)], 1))
    to_receivers = messages_of(*edges)
    level = to_receivers.level[to_receivers.order]
    to_senders = to_receivers.transposed(torch.argsort(to_receivers.order), level)
    ours = torch.cat(
        [conv(Sources(receivers), senders, to_senders, None), conv(Sources(senders), receivers, to_receivers, None)]
    )
    pairs = [(senders, senders), (receivers, receivers), (conv.lin_value.weight, pyg.lin.weight), (conv.bias, pyg.bias)]
    assert_same(ours, theirs, pairs)


def dense_parts(messages: Messages) -> tuple[Tensor, Tensor, Tensor]:
    """Dense ``[receivers, senders]`` weights and residuals, and one-hot levels ``[receivers, senders, levels]``."""
    owner, sender = messages.owner.long(), messages.sender.long()
    weight = torch.zeros(RECEIVERS, SENDERS, dtype=messages.weight.dtype)
    residual = torch.zeros_like(weight)
    level = torch.zeros(RECEIVERS, SENDERS, LEVELS, dtype=weight.dtype)
    weight[owner, sender] = messages.weight
    residual[owner, sender] = messages.residual
    level[owner, sender, messages.level.long()] = messages.weight
    return weight, residual, level


def dense_sum(attention: Tensor, value: Tensor, residual_value: Tensor, rating: Tensor, messages: Messages) -> Tensor:
    """``sum_j attention_ij (value_j + residual_ij residual_value_j + rating[level_ij])`` with dense matrices."""
    weight, residual, level = dense_parts(messages)
    return (
        (attention * weight) @ value
        + (attention * residual) @ residual_value
        + torch.einsum("ij,ijl,lc->ic", attention, level, rating)
    )


@pytest.fixture(params=["everything", "some excluded"])
def rated(request, edges) -> Messages:
    weight = torch.ones(EDGES, dtype=torch.float64)
    if request.param == "some excluded":
        weight[::4] = 0
    return messages_of(*edges, weight, torch.float64)


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
    conv = BipartiteGCNConv(None, OUT, LEVELS, gain=1.5, self_loops=self_loops)
    value, residual_value, own = rated_inputs(conv)
    weight, _, _ = dense_parts(rated)
    extra = 1.0 if self_loops else 0.0
    d_i, d_j = weight.sum(1, keepdim=True) + extra, weight.sum(0, keepdim=True) + extra
    normalised = torch.where((d_i > 0) & (d_j > 0), (d_i * d_j).clamp(min=1e-9) ** -0.5, 0)
    dense = dense_sum(normalised, value * conv.gain, residual_value * conv.gain, conv.rating, rated) + conv.bias
    inputs = (value, residual_value)
    if self_loops:
        dense = dense + own / d_i
        inputs += (own,)
    assert_rated(conv, dense, conv(Sources(value, residual_value), own, rated, None), inputs)


@pytest.mark.parametrize("restore_degree", [True, False])
def test_sage_with_ratings_equals_dense(rated, restore_degree):
    conv = BipartiteSAGEConv(None, OUT, LEVELS, gain=1.5, restore_degree=restore_degree)
    value, residual_value, _ = rated_inputs(conv)
    weight, _, _ = dense_parts(rated)
    degree = weight.sum(1, keepdim=True)
    dense = dense_sum(weight, value * conv.gain, residual_value * conv.gain, conv.rating, rated)
    dense = dense / degree.clamp(min=1) * (degree.sqrt() if restore_degree else 1) + conv.bias
    assert_rated(conv, dense, conv(Sources(value, residual_value), None, rated, None), (value, residual_value))


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("restore_degree", [True, False])
def test_gat_with_ratings_equals_dense(rated, concat, restore_degree):
    heads, width = 2, OUT // 2
    out = OUT if concat else width
    conv = BipartiteGATConv(
        None, out, LEVELS, gain=1.5, heads=heads, concat=concat, receiver_channels=OUT, restore_degree=restore_degree
    )
    value, residual_value, own = rated_inputs(conv)
    weight, _, level = dense_parts(rated)
    scaled, scaled_residual = value * conv.gain, residual_value * conv.gain
    parts = []
    for head in range(heads):
        columns = slice(head * width, (head + 1) * width)
        logit = (scaled[:, columns] @ conv.att_src[head])[None, :]
        logit = logit + (own @ conv.lin_receiver.weight.T)[:, columns] @ conv.att_dst[head][:, None]
        logit = logit + level @ conv.att_rating[:, head]
        logit = torch.where(logit > 0, logit, 0.2 * logit).masked_fill(weight == 0, -torch.inf)
        attention = torch.nan_to_num(torch.softmax(logit, 1), 0)
        parts.append(
            dense_sum(attention, scaled[:, columns], scaled_residual[:, columns], conv.rating[:, columns], rated)
        )
    dense = torch.cat(parts, 1) if concat else torch.stack(parts).mean(0)
    dense = dense * (weight.sum(1, keepdim=True).sqrt() if restore_degree else 1) + conv.bias
    ours = conv(Sources(value, residual_value), own, rated, None)
    assert_rated(conv, dense, ours, (value, residual_value, own))


def test_gat_logits_of_any_size_stay_finite(edges):
    messages = messages_of(*edges)
    conv = BipartiteGATConv(None, OUT, heads=2)
    value = torch.full((SENDERS, OUT), 200.0) * torch.arange(SENDERS).unsqueeze(1)
    with torch.no_grad():
        conv.att_src.fill_(1.0)
    assert conv(Sources(value), None, messages, None).isfinite().all()
