"""Parts of a model that autocast must not round."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> contextlib.AbstractContextManager:
    """Context without autocast on the device of ``tensor``.

    bfloat16 has 8 bits: enough for products of a linear layer, too few for sums over thousands of messages and for the
    logits of a softmax.
    """
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else contextlib.nullcontext()
