"""Measures milliseconds of the fused operators on the messages of one step, next to plain torch.

    python -m benchmarks.kernel_speed --data PREPARED

The lists are those of one pass of ``configs/ml20m_full.yaml``. Plain torch is ``gnnrec.kernels.*_reference``:
``embedding_bag`` over sorted lists, and ``index_add`` for statistics. Medians of several runs that take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import ours, record
from gnnrec.graph.batch import whole_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.kernels import dispatch
from gnnrec.kernels.dropout import tanh_dropout
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.pairs import pair_scores
from gnnrec.kernels.sums import gather_sums, scatter_sums
from gnnrec.utils import memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--channels", type=int, default=64)
    options = parser.parse_args()
    trainer = ours.build(options.data, ["--config=configs/ml20m_full.yaml"])
    memory.keep_freed()
    work = operations(trainer, options.channels)
    times: dict[str, dict[str, list[float]]] = {name: {} for name in work}
    for _ in range(options.rounds + 1):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for name, operation in work.items():
                times[name].setdefault(f"compiled, {threads} threads", []).append(_milliseconds(operation))
                if threads == 1:
                    with dispatch.forced("reference"):
                        times[name].setdefault("plain torch, 1 threads", []).append(_milliseconds(operation))
    # The first round compiles and allocates memory.
    rows = {
        name: {kind: round(statistics.median(each[1:]), 1) for kind, each in kinds.items()}
        for name, kinds in times.items()
    }
    edges = trainer.loader.statistics(trainer.epoch(0), 0).edges
    figures = {"messages": edges.movie.numel(), "targets": edges.target_movie.numel(), "milliseconds": rows}
    print(json.dumps(figures, indent=1))
    print(record.write("kernel_speed", "benchmarks.kernel_speed", figures | {"channels": options.channels}))


def operations(trainer, channels: int) -> dict[str, Callable[[], object]]:
    """Returns name -> the operation, without arguments."""
    graph, epoch = trainer.graph, trainer.epoch(0)
    found = trainer.loader.statistics(epoch, 0)
    lists, edges = whole_graph(graph, found).to_users.lists, found.edges
    dropout = trainer.loader._dropout_of(epoch)

    def table(rows: int) -> torch.Tensor:
        return torch.randn(rows, channels, requires_grad=True)

    movies, users = (table(lists.columns), table(lists.columns)), (table(lists.rows), table(lists.rows))
    to_users, to_movies = gather_sums(*movies, lists), scatter_sums(*users, lists)
    of_users, of_movies = torch.randn_like(to_users), torch.randn_like(to_movies)
    pairs = CSRLists(edges.target_pointer, edges.target_movie, lists.columns)
    biases = torch.zeros(lists.rows), torch.zeros(lists.columns)
    return {
        "users <- movies, forward": lambda: gather_sums(*(each.detach() for each in movies), lists),
        "users <- movies, backward": lambda: torch.autograd.grad(to_users, movies, of_users, retain_graph=True),
        "movies <- users, forward": lambda: scatter_sums(*(each.detach() for each in users), lists),
        "movies <- users, backward": lambda: torch.autograd.grad(to_movies, users, of_movies, retain_graph=True),
        "scores of targets": lambda: pair_scores(users[0].detach(), movies[0].detach(), *biases, pairs),
        "dropout of tanh": lambda: tanh_dropout(users[0].detach(), graph.user_rows, 1, 0.1),
        "statistics of a pass": lambda: message_statistics(graph, epoch, 0, dropout),
    }


def _milliseconds(operation: Callable[[], object]) -> float:
    started = time.perf_counter()
    operation()
    return 1e3 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
