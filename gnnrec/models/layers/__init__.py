"""Layers by name: each file here is one, and its name is a value of ``--model.architecture``.

A file has ``build(options, spec)``, which returns a :class:`~gnnrec.models.conv.BipartiteConv`. CONTRIBUTING.md shows
how to write one, here or in a file of your own (:mod:`gnnrec.models.layer_file`). This module imports no layer: the
command line needs their names, and importing torch takes seconds.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from typing import TYPE_CHECKING

from gnnrec.models.layer_file import is_layer_file, read_builder

if TYPE_CHECKING:
    from gnnrec.models.conv import BipartiteConv
    from gnnrec.models.options import ModelOptions


@dataclasses.dataclass(frozen=True)
class LayerSpec:
    """Position of a layer in the encoder, and sizes that it depends on.

    Attributes:
        first: The first layer, whose senders send message embeddings; senders of later layers send states.
        num_levels: Rating levels.
        sender_degree: Mean message edges of a sender.
        receiver_ids: Receivers have id embeddings, which are their states before the first layer.
    """

    first: bool
    num_levels: int
    sender_degree: float
    receiver_ids: bool


def architectures() -> list[str]:
    """Lists the names of all layers in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build_layer(options: ModelOptions, spec: LayerSpec) -> BipartiteConv:
    """Builds the layer of ``options.architecture`` for one direction, from this package or a user's own file.

    Raises:
        UserError: A file of the user's own that has no such layer.
    """
    if is_layer_file(options.architecture):
        return read_builder(options.architecture)(options, spec)
    return importlib.import_module(f"{__name__}.{options.architecture}").build(options, spec)
