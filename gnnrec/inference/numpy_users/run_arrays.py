"""The arrays of :mod:`gnnrec.inference.numpy_users.encoder`, from a trained run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gnnrec.data.features.new_nodes import missing_values
from gnnrec.graph.fold_biases import BIAS_SHRINKAGE
from gnnrec.graph.places import tie_keys
from gnnrec.inference.list_encoder import ListEncoder
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.numpy_users.encoder import EncoderFiles
from gnnrec.inference.ranking_encoder import RankingEncoder
from gnnrec.inference.rating_encoder import RatingEncoder
from gnnrec.inference.user_encoder import UserEncoder
from gnnrec.models.conv import BipartiteConv
from gnnrec.models.encoder import layer_inputs
from gnnrec.models.layers.gat import BipartiteGATConv
from gnnrec.models.layers.gcn import BipartiteGCNConv
from gnnrec.models.layers.sage import BipartiteSAGEConv
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.sequential import HALF_LIFE


@torch.no_grad()
def encoder_files(loaded: LoadedRun, encoder: UserEncoder) -> EncoderFiles | None:
    """Returns what encodes users of a run in NumPy; None for a layer that has no code in NumPy, as of a user's file.

    Args:
        loaded: The run.
        encoder: Its encoder.
    """
    manifest = loaded.dataset.manifest
    settings: dict[str, Any] = {
        "objective": loaded.config.objective,
        "splits": list(loaded.known_splits),
        "counts": bool(manifest.source.get("implicit")),
        "rating": {name: manifest.rating[name] for name in ("min", "max", "mean", "std", "levels")},
    }
    if isinstance(encoder, RankingEncoder):
        return _of_ranking(encoder, settings)
    interest = encoder if isinstance(encoder, ListEncoder) else None
    rating = encoder.rating if isinstance(encoder, ListEncoder) else encoder
    assert isinstance(rating, RatingEncoder)
    files = _of_rating(rating, settings)
    if files is not None and interest is not None:
        files.tables["interest"] = _array(interest.interest.message_embedding)
        files.settings["interest_scale"] = interest.interest_scale
    if files is not None and rating.model.user_features is not None:
        features = loaded.user_features
        assert features is not None
        files.weights.update(_features(rating), **{"features.missing": missing_values(features)})
    return files


def rotated(files: EncoderFiles, rotation: Tensor, user_shift: float) -> EncoderFiles:
    """Returns files whose vectors and biases fit those of an earlier export.

    Args:
        files: The files.
        rotation: Orthogonal map of vectors, float ``[columns, columns]``.
        user_shift: Added to the biases of users.
    """
    settings = files.settings | {"user_shift": user_shift}
    return EncoderFiles(settings, files.tables, files.weights | {"rotation": _array(rotation)})


def _of_ranking(encoder: RankingEncoder, settings: dict[str, Any]) -> EncoderFiles:
    options, order = encoder.options, encoder.order
    settings |= {"relevant": options.relevant, "count_confidence": options.count_confidence}
    if order is None:
        return EncoderFiles(settings, {"liked": _array(encoder.model.message_rows())}, {})
    settings["order"] = {"exponent": order.exponent, "next_weight": order.next_weight, "half_life": HALF_LIFE}
    tables = {"liked": _array(order.liked_embedding), "following": _array(order.next_embedding)}
    tables["tie_key"] = tie_keys(torch.arange(len(tables["liked"]))).numpy()
    return EncoderFiles(settings, tables, {})


def _of_rating(encoder: RatingEncoder, settings: dict[str, Any]) -> EncoderFiles | None:
    model, statistics = encoder.model, encoder.statistics
    movie_rows = model.movie_rows()
    tables, weights = {"movie_bias": _array(statistics.bias)}, dict[str, np.ndarray]()
    layers: list[dict[str, Any]] = []
    for number, (layer, state) in enumerate(zip(model.encoder.layers, encoder.states)):
        conv: BipartiteConv = layer.to_users
        write = _LAYERS.get(type(conv))
        if write is None:
            return None
        inputs = conv.transform(layer_inputs(layer, movie_rows, state))
        value, residual = inputs.value, inputs.residual_value
        assert residual is not None
        own, arrays, small = write(conv, value, statistics.degree)
        scale = arrays.pop("scale", None)
        if scale is not None:
            value, residual = value * scale[:, None], residual * scale[:, None]
            arrays["sender_scale"] = scale
        if conv.narrow:
            value, residual = value.to(torch.bfloat16), residual.to(torch.bfloat16)
        arrays["messages"] = torch.stack([value, residual], 1)
        small |= {"rating": conv.rating, "out": layer.user_out.weight}
        small["bias"] = value.new_zeros(layer.user_out.in_features) if conv.bias is None else conv.bias
        layers.append(own)
        tables |= {f"{name}-{number}": _array(table) for name, table in arrays.items()}
        weights |= {f"layer{number}.{name}": _array(array) for name, array in small.items()}
    return EncoderFiles(
        settings
        | {
            "layers": layers,
            "dim": encoder.states[-1].shape[1],
            "message_mean": float(statistics.mean),
            "bias_shrinkage": BIAS_SHRINKAGE,
            "bias_multiple": float(softplus(model.bias_multiple.double())),
            "shrinkage": float(model.shrinkage),
            "own_rows": own_tables(model),
        },
        tables,
        weights,
    )


def own_tables(model: RatingModel) -> list[str]:
    """Names of the tables of users that enter their vectors."""
    first = model.encoder.layers[0].to_users if len(model.encoder.layers) else None
    loops = isinstance(first, BipartiteGCNConv) and first.self_loops
    names = ["id_embedding", *(["message_embedding"] if loops else [])]
    return [name for name in names if name in model.user_row_shapes]


#: Settings of a layer, its arrays of movies (``scale`` is a factor of their messages), and its small arrays.
_Layer = tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]


def _of_sage(conv: BipartiteSAGEConv, value: Tensor, degree: Tensor) -> _Layer:
    root = {} if conv.lin_root is None else {"root": conv.lin_root.weight}
    return {"kind": "sage", "restore_degree": conv.restore_degree}, {}, root


def _of_gcn(conv: BipartiteGCNConv, value: Tensor, degree: Tensor) -> _Layer:
    weights = {"root": conv.lin_value.weight} if conv.self_loops and isinstance(conv.lin_value, nn.Linear) else {}
    return {"kind": "gcn", "self_loops": conv.self_loops}, {"scale": conv.inverse_sqrt(degree)}, weights


def _of_gat(conv: BipartiteGATConv, value: Tensor, degree: Tensor) -> _Layer:
    of_senders, of_receivers = conv.attention_matrices()
    settings = {"kind": "gat", "restore_degree": conv.restore_degree, "concat": conv.concat}
    weights = {} if of_receivers is None else {"own_logits": of_receivers}
    if conv.att_rating is not None:
        weights["rating_logits"] = conv.att_rating
    return settings | {"slope": conv.negative_slope}, {"logits": value.to(of_senders.dtype) @ of_senders}, weights


#: Layers that :mod:`gnnrec.inference.numpy_users.layers` computes; classes derived from them may differ.
_LAYERS: dict[type, Any] = {BipartiteSAGEConv: _of_sage, BipartiteGCNConv: _of_gcn, BipartiteGATConv: _of_gat}


def _features(encoder: RatingEncoder) -> dict[str, np.ndarray]:
    """Weights of users' features by table, multiplied by the scale of the columns."""
    maps = encoder.model.user_features
    assert maps is not None and maps.scale is not None
    tables = {name: table * maps.scale.view(-1, *table[0].dim() * [1]) for name, table in maps.tables.items()}
    kept = ("id_embedding", "message_embedding", "bias")
    return {f"features.{name}": _array(table) for name, table in tables.items() if name in kept}


def _array(tensor: Tensor) -> np.ndarray:
    """A contiguous float32 array: readers map it as it is."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
