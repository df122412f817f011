"""Stand-in for pyg-lib and torch-sparse: it takes whole neighborhoods, and CPU tensors only, as they do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import torch
from torch import Tensor
from torch_geometric.sampler import HeteroSamplerOutput, NeighborSampler

from gnnrec.graph import pyg_sampler
from gnnrec.graph.sampler import MOVIE, RATED_BY, RATES, USER


@contextlib.contextmanager
def host_library() -> Iterator[None]:
    """Context in which PyG's sampler calls :func:`whole_neighborhoods`."""
    with (
        mock.patch.object(pyg_sampler, "sampling_library", lambda: "a stand-in"),
        mock.patch.object(NeighborSampler, "_sample", whole_neighborhoods),
    ):
        yield


def whole_neighborhoods(sampler: NeighborSampler, seeds: dict[str, Tensor]) -> HeteroSamplerOutput:
    """Returns all edges of the seeds, one hop, in the place of ``NeighborSampler._sample``."""
    users, movies = seeds[USER], seeds[MOVIE]
    movie, to_users, rated_by = _edges_of(sampler, RATED_BY, users)
    rater, to_movies, rates = _edges_of(sampler, RATES, movies)
    others = sorted(set(rater.tolist()) - set(users.tolist()))
    users = torch.cat([users, torch.tensor(others, dtype=torch.int64)])
    place = {user: number for number, user in enumerate(users.tolist())}
    return HeteroSamplerOutput(
        node={USER: users, MOVIE: movies},
        row={RATED_BY: movie, RATES: torch.tensor([place[user] for user in rater.tolist()])},
        col={RATED_BY: to_users, RATES: to_movies},
        edge={RATED_BY: rated_by, RATES: rates},
        batch=None,
    )


def _edges_of(sampler: NeighborSampler, kind: tuple, receivers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns senders, positions among the receivers, and positions in the sampler's lists of all their edges."""
    pointer, sender = (lists["__".join(kind)] for lists in (sampler.colptr_dict, sampler.row_dict))
    for tensor in (pointer, sender, receivers):
        assert type(tensor) is Tensor and tensor.device.type == "cpu"
    edge = torch.cat([torch.arange(pointer[receiver], pointer[receiver + 1]) for receiver in receivers.tolist()])
    return sender[edge], torch.arange(len(receivers)).repeat_interleave(pointer.diff()[receivers]), edge
