"""One step of the plain PyG recipe, and its validation."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from benchmarks.plain_pyg_graph import MOVIE, RATES, USER, PlainGraph, ShuffledBatches, batch_loader
from benchmarks.plain_pyg_model import PlainSAGE

GPU_WORKERS = 16


class PlainRecipe:
    """Model, optimizer and loader of the recipe.

    Args:
        graph: The graph.
        batch_size: Supervision edges a step.
        lr: Adam's learning rate.
        weight_decay: Adam's coupled L2.
        workers: Processes that sample; 0 for this one. None for 0 on the CPU and 16 on a GPU.
        device: Device of the model. Sampling is always on the CPU.
        seed: Seed of initial values and of the order of edges.
        sparse: As in :class:`benchmarks.plain_pyg_model.PlainSAGE`; None for what is faster: on a CPU, yes.
    """

    def __init__(
        self,
        graph: PlainGraph,
        batch_size: int,
        lr: float = 0.01,
        weight_decay: float = 1e-4,
        workers: int | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
        sparse: bool | None = None,
    ):
        self.graph, self.device = graph, torch.device(device)
        on_gpu = self.device.type == "cuda"
        workers = (GPU_WORKERS if on_gpu else 0) if workers is None else workers
        torch.manual_seed(seed)
        self.model = PlainSAGE(graph, sparse=not on_gpu if sparse is None else sparse).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
        self.order = ShuffledBatches(graph.num_edges, batch_size, seed)
        self.loader = batch_loader(graph, self.order, workers, pin_memory=on_gpu)
        self._adjacency = None

    def step(self, batch: HeteroData) -> tuple[int, Tensor]:
        """Takes one training step; returns its number of supervision edges and its mean squared error."""
        batch = batch.to(self.device, non_blocking=True)
        rating = batch[RATES].edge_label
        loss = nn.functional.mse_loss(self.model(batch), rating)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return rating.numel(), loss.detach()

    @torch.no_grad()
    def validation_rmse(self) -> float:
        """RMSE of the validation edges, predictions clipped to the rating scale.

        Users and movies are encoded from all their train edges, layer by layer. It is lower than with neighbors
        sampled as in training, by up to .002.
        """
        if self._adjacency is None:
            self._adjacency = self.graph.adjacency(self.device)
        model = self.model
        x = model.encode({kind: table.weight for kind, table in model.embedding.items()}, self._adjacency)
        squares = 0.0
        for user, movie, rating in zip(*(part.split(1 << 20) for part in self.graph.validation)):
            user, movie = user.to(self.device), movie.to(self.device)
            predicted = model.score(x[USER][user], x[MOVIE][movie], user, movie).clamp(*self.graph.scale)
            squares += (predicted.cpu() - rating).square().sum(dtype=torch.float64).item()
        return (squares / max(self.graph.validation[2].numel(), 1)) ** 0.5

    def now(self) -> float:
        """Reads the clock after the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
