"""Measures training speed and time to quality, next to the plain PyG recipe on the same graph, in one run.

    python -m benchmarks.train_speed --data PREPARED
    python -m benchmarks.train_speed --quick

``benchmarks/README.md`` describes how. ``--quick`` runs everything on tiny synthetic data and writes
no file: it shows that the benchmark works, not how fast anything is.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
from pathlib import Path

import torch

from benchmarks import ours, plain_pyg, record
from benchmarks.plain_pyg_graph import PlainGraph
from gnnrec.errors import UserError
from gnnrec.utils import memory

ARCHITECTURES = ("sage", "gcn", "gat")
#: The configuration whose time to quality is measured.
DEFAULT = ["--config=configs/ml20m_full.yaml"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a prepared dataset of MovieLens 20M's size")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="threads of torch and of our kernels (default: the cores)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds in which all models take turns")
    parser.add_argument("--seconds", type=float, default=12.0, help="seconds of one round of the plain recipe")
    parser.add_argument("--plain-epochs", type=int, default=3, help="epochs of the plain recipe's training")
    parser.add_argument("--quick", action="store_true", help="use tiny data and one round, and write no result file")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        if options.quick:
            with tempfile.TemporaryDirectory() as directory:
                options.data = tiny_dataset(Path(directory))
                options.rounds, options.seconds, options.plain_epochs = 1, 0.2, 1
                print_table(measure(options, batch_sizes=(256, 1024), every=2))
        elif options.data is None:
            parser.error("give --data PREPARED or --quick")
        else:
            found = measure(options, batch_sizes=(1024, 16384, 65536), every=5)
            print_table(found)
            print(record.write(f"train_speed{'_cuda' * (options.device == 'cuda')}", "benchmarks.train_speed", found))
    except UserError as error:
        parser.error(str(error))


def tiny_dataset(directory: Path) -> Path:
    """Prepares 3,000 synthetic ratings."""
    from gnnrec.data.prepare import PrepareOptions, prepare
    from gnnrec.data.synth import SynthOptions, synth

    synth(directory / "ratings", SynthOptions(users=120, movies=60, ratings=3000))
    prepare(directory / "data", PrepareOptions(ratings=directory / "ratings"))
    return directory / "data"


def measure(options: argparse.Namespace, batch_sizes: tuple[int, ...], every: int) -> dict:
    """Measures all figures. One program runs at a time, and rounds alternate between the two sides."""
    graph = PlainGraph(options.data)
    workers = None if options.device == "cuda" else (0, 1, 2)
    found = plain_pyg.best_batch(graph, batch_sizes, workers, options.seconds / 2, options.device)
    best = found["best"]
    trainers = {
        name: ours.build(options.data, [*ours.FAN_OUT_10, f"--model.architecture={name}"], options.device)
        for name in ARCHITECTURES
    }
    memory.keep_freed()
    rounds: dict[str, list[float]] = {"plain_best": [], "plain_1024": []} | {name: [] for name in ARCHITECTURES}
    for trainer in trainers.values():
        ours.epoch_seconds(trainer, 0)  # compiles, and fills caches
    for number in range(options.rounds):
        for name, size in (("plain_best", best["batch_size"]), ("plain_1024", min(batch_sizes))):
            rounds[name].append(
                plain_pyg.edges_per_second(graph, size, best["workers"], options.seconds, options.device)
            )
        for name, trainer in trainers.items():
            seconds, targets = ours.epoch_seconds(trainer, number + 1)
            rounds[name].append(targets / seconds)
    embedding = [ours.embed_seconds(trainers["sage"]) for _ in range(max(options.rounds, 1))]
    del trainers
    gc.collect()
    return {
        "threads": torch.get_num_threads(),
        "edges": graph.num_edges,
        "sampler_of_plain": found["sampler"],
        "plain_search": found["rows"],
        "plain_batch": best["batch_size"],
        "plain_workers": best["workers"],
        "ours": statistics.median(rounds["sage"]),
        "ours_gcn": statistics.median(rounds["gcn"]),
        "ours_gat": statistics.median(rounds["gat"]),
        "plain_best": statistics.median(rounds["plain_best"]),
        "plain_1024": statistics.median(rounds["plain_1024"]),
        "epoch_seconds": graph.num_edges / statistics.median(rounds["sage"]),
        "epoch_seconds_of_20m_edges": 20_000_263 / statistics.median(rounds["sage"]),
        "embed_all_seconds": statistics.median(embedding),
        "rounds": {name: [round(each) for each in figures] for name, figures in rounds.items()},
        **time_to_quality(graph, options, best, every),
        "peak_gb_of_both": ours.peak_gb(),
    }


def time_to_quality(graph: PlainGraph, options: argparse.Namespace, best: dict, every: int) -> dict:
    """Measures how long each side trains to the plain recipe's best validation RMSE, and ours to its end."""
    steps = -(-graph.num_edges // best["batch_size"])
    theirs = plain_pyg.train(
        graph,
        best["batch_size"],
        epochs=options.plain_epochs,
        evaluate_every_steps=max(1, steps // 4),
        workers=best["workers"],
        device=options.device,
    )
    lowest = min(theirs, key=lambda each: each["validation_rmse"])
    trainer = ours.build(options.data, DEFAULT, options.device)
    mine = list(ours.curve(trainer, every))
    reached = next((each for each in mine if each["validation_rmse"] <= lowest["validation_rmse"]), None)
    return {
        "plain_best_rmse": lowest["validation_rmse"],
        "plain_seconds_to_best": lowest["seconds"],
        "ours_seconds_to_the_same": reached and reached["seconds"],
        "time_to_rmse_ratio": reached and lowest["seconds"] / reached["seconds"],
        "recipe_steps": mine[-1]["step"],
        "recipe_seconds": mine[-1]["seconds"],
        "recipe_edges_per_second": mine[-1]["edges"] / mine[-1]["seconds"],
        "recipe_rmse": mine[-1]["validation_rmse"],
        "plain_curve": theirs,
        "ours_curve": mine,
    }


def print_table(found: dict) -> None:
    """Prints the figures as a table."""
    rows = [
        ("GraphSAGE, 2 layers, fan-out 10", found["ours"]),
        ("GCN, 2 layers, fan-out 10", found["ours_gcn"]),
        ("GAT, 2 layers, fan-out 10", found["ours_gat"]),
        (f"plain PyG, batch {found['plain_batch']:,} ({found['sampler_of_plain']})", found["plain_best"]),
        ("plain PyG, usual batch", found["plain_1024"]),
        ("default, whole neighbourhoods", found["recipe_edges_per_second"]),
    ]
    print(f"{'':44}  {'edges/s':>12}  {'to plain best':>13}  {'to usual':>9}")
    for name, rate in rows:
        print(f"{name:44}  {rate:>12,.0f}  {rate / found['plain_best']:>12.1f}x  {rate / found['plain_1024']:>8.1f}x")
    print(
        f"validation RMSE {found['plain_best_rmse']:.4f}, the best of plain PyG, took it "
        f"{found['plain_seconds_to_best']:.0f} s of training"
    )
    if found["time_to_rmse_ratio"]:
        print(f"ours: {found['ours_seconds_to_the_same']:.0f} s, {found['time_to_rmse_ratio']:.1f} times sooner")
    print(
        f"ours to the end: {found['recipe_steps']} steps, {found['recipe_seconds']:.0f} s, "
        f"validation RMSE {found['recipe_rmse']:.4f}; all embeddings {found['embed_all_seconds']:.1f} s"
    )


if __name__ == "__main__":
    main()
