"""Autocast to bfloat16 does not round sums over messages, nor the logits of GAT."""

from __future__ import annotations

import pytest
import torch

from gnnrec.models.conv import MessageInputs
from gnnrec.models.layers.gat import BipartiteGATConv
from gnnrec.models.layers.gcn import BipartiteGCNConv
from gnnrec.models.layers.sage import BipartiteSAGEConv
from tests.models.test_conv_pyg import EDGES, LEVELS, OUT, RECEIVERS, SENDERS, messages_of


@pytest.mark.parametrize("to_users", [True, False])
@pytest.mark.parametrize("kind", [BipartiteSAGEConv, BipartiteGCNConv, BipartiteGATConv])
def test_sums_are_the_same_with_autocast(kind, to_users):
    torch.manual_seed(0)
    pairs = torch.randperm(SENDERS * (RECEIVERS - 1))[:EDGES]
    messages = messages_of(pairs % SENDERS, pairs // SENDERS, to_users)
    options = {"receiver_channels": OUT} if kind is BipartiteGATConv else {}
    conv = kind(None, OUT, LEVELS, **options)
    for parameter in conv.parameters():
        torch.nn.init.normal_(parameter)
    inputs = MessageInputs(torch.randn(SENDERS, OUT), torch.randn(SENDERS, OUT))
    receiver = torch.randn(RECEIVERS, OUT)
    exact = conv.partial(conv.transform(inputs), receiver, messages, None)
    with torch.autocast("cpu", torch.bfloat16):
        product = inputs.value @ torch.eye(OUT)
        found = conv.partial(conv.transform(inputs), receiver, messages, None)
    assert product.dtype == torch.bfloat16  # autocast is on
    assert found.numerator.dtype == torch.float32 and torch.equal(found.numerator, exact.numerator)
    if exact.denominator is not None:
        assert torch.equal(found.denominator, exact.denominator)
