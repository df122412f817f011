"""The plain PyG recipe that the trainer is measured against, as a good user of PyG would write it.

    python -m benchmarks.plain_pyg --data DIR

``LinkNeighborLoader`` over all train edges with fan-out 10, 10; two layers of hetero ``SAGEConv``; 64 dims; embeddings
of users and movies; dot product, user and movie biases and the global mean; squared error; fused Adam.

As in the stock loader, **target edges are not kept out of the messages**: an edge may be sampled for its own endpoints.

Done in its favor, beyond PyG's examples:

- the graph is sorted for sampling once and shared by all batch sizes;
- batches are drawn as tensors of edge positions and not as lists of integers (the loader's ``shuffle=True`` makes
  Python lists, which cost up to half of the time at large batches);
- dense embeddings with fused Adam, which is faster here than sparse gradients with ``SparseAdam``;
- on a CPU messages are added up as products with a sparse matrix, which PyG calls memory-efficient aggregation;
- with pyg-lib, ``trim_to_layer`` skips what the second layer does not need (torch-sparse does not count its hops);
- on a GPU: worker processes that persist, pinned memory, copies that do not block;
- validation uses embeddings from full neighborhoods, layer by layer, and its time is not counted.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.plain_pyg_graph import PlainGraph
from benchmarks.plain_pyg_recipe import GPU_WORKERS, PlainRecipe
from gnnrec.errors import UserError

BATCH_SIZES = (1024, 4096, 16384, 65536, 131072)


def edges_per_second(
    graph: PlainGraph,
    batch_size: int,
    workers: int | None = None,
    seconds: float = 20.0,
    device: str | torch.device = "cpu",
    warm_up: int = 2,
    sparse: bool | None = None,
) -> float:
    """Measures supervised ratings per second of whole steps, sampling and optimizer included, after a warm-up.

    The permutation of an epoch is drawn before (:meth:`PlainGraph.shuffle_seconds` measures it).

    Args:
        graph: The graph.
        batch_size: Supervision edges a step.
        workers: As in :class:`PlainRecipe`.
        seconds: The step that passes them is the last. At least one step is measured.
        device: Where the model is.
        warm_up: Steps before the clock starts.
        sparse: As in :class:`PlainRecipe`.
    """
    recipe = PlainRecipe(graph, batch_size, workers=workers, device=device, sparse=sparse)
    # An end of an epoch would empty the workers' queues and draw another permutation.
    recipe.order.endless = True
    edges, started = 0, 0.0
    for number, batch in enumerate(recipe.loader, 1):
        count, _ = recipe.step(batch)
        if number == warm_up:
            started = recipe.now()
        elif number > warm_up:
            edges += count
            if time.perf_counter() - started >= seconds:
                break
    return edges / (recipe.now() - started)


def best_batch(
    graph: PlainGraph,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    workers: Sequence[int | None] | None = None,
    seconds: float = 20.0,
    device: str | torch.device = "cpu",
    sparse: bool | None = None,
) -> dict:
    """:func:`edges_per_second` of every combination, and which was fastest.

    Args:
        graph: The graph.
        batch_sizes: Supervision edges a step. Those beyond all train edges are left out.
        workers: Worker processes; None for 0, 1 and 2 on the CPU and 16 on a GPU.
        seconds: For each combination.
        device: Where the model is.
        sparse: As in :class:`PlainRecipe`.

    Returns:
        ``sampler``, ``device``, ``threads`` (of this process), ``build_seconds``, ``shuffle_seconds`` (an epoch),
        ``rows`` and ``best``, where a row has ``batch_size``, ``workers``, ``edges_per_second``.
    """
    if workers is None:
        workers = (GPU_WORKERS,) if torch.device(device).type == "cuda" else (0, 1, 2)
    fitting = [size for size in batch_sizes if size <= graph.num_edges] or [graph.num_edges]
    rows = [
        {
            "batch_size": size,
            "workers": count,
            "edges_per_second": round(edges_per_second(graph, size, count, seconds, device, sparse=sparse)),
        }
        for size in fitting
        for count in workers
    ]
    return {
        "sampler": graph.sampler,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "build_seconds": round(graph.build_seconds, 2),
        "shuffle_seconds": round(graph.shuffle_seconds(), 2),
        "rows": rows,
        "best": max(rows, key=lambda row: row["edges_per_second"]),
    }


def train(
    graph: PlainGraph,
    batch_size: int,
    lr: float = 0.01,
    epochs: int = 10,
    max_seconds: float = float("inf"),
    evaluate_every_steps: int | None = None,
    *,
    weight_decay: float = 1e-4,
    schedule: str = "cosine",
    workers: int | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> list[dict]:
    """Trains and follows the validation RMSE over training seconds.

    The defaults are for a batch of 65,536 and were chosen by validation on 600,000 synthetic ratings, among learning
    rates of .003 to .01 and weight decay of 0 to .001, at batches of 16,384 and 65,536. A constant rate was .005 worse
    than the cosine.

    Args:
        graph: The graph.
        batch_size: Supervision edges a step.
        lr: Learning rate at the start.
        epochs: Passes over all train edges.
        max_seconds: The step that passes them is the last.
        evaluate_every_steps: Steps between evaluations; None for once an epoch. The last step has one always.
        weight_decay: Adam's coupled L2.
        schedule: ``constant``, or ``cosine`` to zero at the end of ``epochs``.
        workers: As in :class:`PlainRecipe`.
        device: Where the model is.
        seed: Of the start and of the order of edges.

    Returns:
        One record an evaluation: ``epoch`` (passes done, a float), ``step``, ``edges`` (supervised so far), ``seconds``
        (of training: sampling, steps, orders and worker start; neither evaluation nor building the graph) and
        ``validation_rmse``.
    """
    recipe = PlainRecipe(graph, batch_size, lr, weight_decay, workers, device, seed)
    total = epochs * len(recipe.order)
    every = evaluate_every_steps or len(recipe.order)
    decay = {"constant": lambda step: 1.0, "cosine": lambda step: (1 + math.cos(math.pi * step / total)) / 2}
    scheduler = torch.optim.lr_scheduler.LambdaLR(recipe.optimizer, decay[schedule])
    records, step, edges, evaluating, started = [], 0, 0, 0.0, recipe.now()
    for batch in (batch for _ in range(epochs) for batch in recipe.loader):
        count, _ = recipe.step(batch)
        scheduler.step()
        step, edges = step + 1, edges + count
        done = step == total or time.perf_counter() - started - evaluating >= max_seconds
        if done or step % every == 0:
            paused = recipe.now()
            records.append(
                {
                    "epoch": edges / graph.num_edges,
                    "step": step,
                    "edges": edges,
                    "seconds": paused - started - evaluating,
                    "validation_rmse": recipe.validation_rmse(),
                }
            )
            evaluating += recipe.now() - paused
        if done:
            break
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES)
    parser.add_argument("--workers", type=int, nargs="+", help="worker processes; default 0 1 2, on a GPU 16")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each combination")
    options = parser.parse_args()
    try:
        graph = PlainGraph(options.data)
    except UserError as error:
        parser.error(str(error))
    found = best_batch(graph, options.batch_sizes, options.workers, options.seconds, options.device)
    setting = f"{found['sampler']}, {found['device']}, {found['threads']} threads"
    print(f"{'batch':>8}  {'workers':>7}  {'edges/s':>11}  ({setting})")
    for row in found["rows"]:
        best = "  best" if row is found["best"] else ""
        print(f"{row['batch_size']:>8,}  {row['workers']:>7}  {row['edges_per_second']:>11,}{best}")


if __name__ == "__main__":
    main()
