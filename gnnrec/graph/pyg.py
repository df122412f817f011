"""The parts of PyG that gnnrec uses; the one place that imports it.

From torch 2.14 on, importing PyG 2.8 warns all users that ``torch.jit.script`` is deprecated, of which PyG makes use.
The warning is kept from them here, and nowhere else: a call of their own still warns.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", FutureWarning)
    from torch_geometric import typing as pyg_typing
    from torch_geometric.data import HeteroData
    from torch_geometric.loader import NeighborLoader
    from torch_geometric.sampler import (
        BaseSampler,
        EdgeSamplerInput,
        HeteroSamplerOutput,
        NeighborSampler,
        NodeSamplerInput,
    )

__all__ = [
    "BaseSampler",
    "EdgeSamplerInput",
    "HeteroData",
    "HeteroSamplerOutput",
    "NeighborLoader",
    "NeighborSampler",
    "NodeSamplerInput",
    "pyg_typing",
]
