"""Opens a run for inference: its model, its users, its graph."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from gnnrec.config import TrainConfig, read_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed import World
from gnnrec.errors import UserError
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.models.build import build_model
from gnnrec.models.embeddings import Embeddings
from gnnrec.models.layerwise import embed_all
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables
from gnnrec.training.checkpoint import CheckpointInfo, load_checkpoint, read_info
from gnnrec.training.rating_trainer import message_splits


@dataclasses.dataclass
class LoadedRun:
    """A trained model on this rank's part of its dataset.

    Attributes:
        config: The run's configuration.
        dataset: The prepared dataset.
        world: The ranks.
        graph: The message edges that it was trained on.
        model: The replicated part.
        users: This rank's user rows.
        info: The checkpoint.
    """

    config: TrainConfig
    dataset: PreparedDataset
    world: World
    graph: RankGraph
    model: RatingModel
    users: NodeTables
    info: CheckpointInfo

    def embed(self, chunk: int = 65536) -> Embeddings:
        """Exact embeddings of this rank's users and of all movies."""
        return embed_all(self.model, self.users, self.graph, chunk)


def load_run(run: Path, world: World, checkpoint: str = "best", data: Path | None = None) -> LoadedRun:
    """Opens a run on any number of ranks.

    Args:
        run: Run directory of ``train_dist.py``.
        world: The ranks; every rank calls this.
        checkpoint: ``best`` or ``last``.
        data: The prepared dataset, where it has moved since.

    Raises:
        UserError: No run, no such checkpoint, or another dataset than it was trained on.
    """
    run = Path(run)
    config = read_train_config(run / "config.yaml")
    directory = run / "checkpoints" / checkpoint
    info = read_info(directory)
    dataset = PreparedDataset(data or config.data)
    if dataset.fingerprint != info.dataset:
        raise UserError(
            f"{dataset.directory} is not the dataset that {run} was trained on: pass the right one with --data"
        )
    graph = build_rank_graph(dataset, world, message_splits(config), torch.get_default_dtype())
    model, users = build_model(config.model, graph, dataset, config.seed)
    load_checkpoint(directory, model, users, graph.part)
    return LoadedRun(config, dataset, world, graph, model.eval(), users, info)
