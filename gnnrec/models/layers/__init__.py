"""Layers by name: each file here is one, and its name is what ``--model.architecture`` takes.

A file has ``build(options, spec)``, which returns a :class:`~gnnrec.models.conv.BipartiteConv`. CONTRIBUTING.md shows
how to write one. This module imports none of them: the command line asks for their names, and torch takes its time.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gnnrec.models.conv import BipartiteConv
    from gnnrec.models.options import ModelOptions


@dataclasses.dataclass(frozen=True)
class LayerSpec:
    """Where in the encoder a layer stands.

    Attributes:
        first: The first layer, whose senders send source tables as they are; later ones send states.
        num_levels: Rating levels.
        sender_degree: Mean message edges of a sender.
        receiver_ids: Receivers have states before the first layer: their id rows.
    """

    first: bool
    num_levels: int
    sender_degree: float
    receiver_ids: bool


def architectures() -> list[str]:
    """Names of all layers, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build_layer(options: ModelOptions, spec: LayerSpec) -> BipartiteConv:
    """The layer of ``options.architecture`` in one direction."""
    return importlib.import_module(f"{__name__}.{options.architecture}").build(options, spec)
