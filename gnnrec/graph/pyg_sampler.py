"""Adapter for PyG's own neighbor samplers (pyg-lib or torch-sparse)."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.errors import UserError
from gnnrec.graph.hetero import hetero_data
from gnnrec.graph.pyg import BaseSampler, HeteroSamplerOutput, NeighborSampler, NodeSamplerInput, pyg_typing
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.sampler import MOVIE, RATED_BY, RATES, USER, _sampling_scale


def sampling_library() -> str | None:
    """Returns the name of the library that PyG samples with, or None."""
    if pyg_typing.WITH_PYG_LIB:
        return "pyg-lib"
    return "torch-sparse" if pyg_typing.WITH_TORCH_SPARSE else None


class PyGSampler(BaseSampler):
    """PyG's sampler on this rank's graph, with some users and all movies as seeds.

    Each rank draws up to ``raters_per_movie`` of its own raters of a movie, not of the global list, so results depend
    on the number of ranks, unlike those of the built-in sampler. It runs on the CPU, holds int64 copies of the graph
    there in both directions (at least 32 bytes per edge), and copies each sample to the device of the graph.

    Args:
        graph: The rank's graph.
        seed, movies_per_user, raters_per_movie, hops: As in :class:`gnnrec.graph.sampler.BipartiteSampler`.
    """

    def __init__(self, graph: RankGraph, seed: int, movies_per_user: int, raters_per_movie: int, hops: int):
        if sampling_library() is None:
            raise UserError(
                "--loader.sampler pyg needs pyg-lib or torch-sparse, and neither is installed: "
                "install one of them, or choose --loader.sampler builtin"
            )
        self.graph, self.seed, self.movies_per_user, self.raters_per_movie = (
            graph,
            seed,
            movies_per_user,
            raters_per_movie,
        )
        # The second hop has no new movies: all are seeds already.
        fan_outs = {
            RATED_BY: [movies_per_user] * min(hops, 2),
            RATES: [raters_per_movie] + [0] * (min(hops, 2) - 1),
        }
        host_graph = dataclasses.replace(
            graph, user_ptr=graph.user_ptr.cpu(), movie=graph.movie.cpu(), rating=graph.rating.cpu()
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*without a 'pyg-lib' installation.*")
            self.sampler = NeighborSampler(hetero_data(host_graph), fan_outs)

    def set_step(self, epoch: int, step: int) -> None:
        """Seeds torch's generator, which PyG's samplers use, so that a step does not depend on earlier ones."""
        torch.manual_seed(rng.key(self.seed, "pyg", epoch, step, self.graph.world.rank))

    def sample_from_nodes(self, inputs: NodeSamplerInput, **kwargs: Any) -> HeteroSamplerOutput:
        """Samples the neighborhoods of seed users ``inputs.node`` (local rows) and of all movies."""
        movies = torch.arange(self.graph.num_movies)
        # NeighborSampler.sample_from_nodes accepts seeds of one type only; _sample accepts several.
        out = self.sampler._sample({USER: inputs.node.cpu(), MOVIE: movies})
        out.edge = {kind: self._positions(kind, edge) for kind, edge in out.edge.items()}
        for name in ("node", "row", "col", "edge"):
            setattr(out, name, {kind: rows.to(self.graph.device) for kind, rows in getattr(out, name).items()})
        out.metadata = (inputs.input_id, inputs.time)
        return out

    def sample_from_edges(self, inputs: Any, neg_sampling: Any = None) -> HeteroSamplerOutput:
        """Not supported: seeds are users. PyG's ``LinkNeighborLoader`` on :func:`hetero_data` samples edges."""
        raise NotImplementedError("seeds are users; see gnnrec.graph.sampler.BipartiteSampler.sample_from_edges")

    def _positions(self, kind: tuple, edge: Tensor) -> Tensor:
        """Converts sampled edges to positions by user; PyG may have sorted the edges by receiver."""
        permutation = self.sampler.edge_permutation
        permutation = permutation.get(kind) if permutation else None
        return edge if permutation is None else permutation[edge]

    def sampling_scale(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Computes edges on this rank over sampled edges, for users (local rows) and for all movies."""
        dtype = self.graph.dtype
        return (
            _sampling_scale(self.graph.user_degree[users], self.movies_per_user, dtype),
            _sampling_scale(self.graph.movie_ptr.diff(), self.raters_per_movie, dtype),
        )

    @property
    def edge_permutation(self) -> None:
        return None
