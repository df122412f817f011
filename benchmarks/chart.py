"""Makes the charts in the README from ``results/train_speed.json`` and ``results/quality.json``.

python -m benchmarks.chart
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.record import RESULTS

#: Directory of the charts.
IMAGES = Path(__file__).parents[1] / "docs" / "images"
OURS, THEIRS = "#1f6f8b", "#b8b8b8"
RATING = {"biases": "biases", "item AutoRec": "item AutoRec", "biased MF": "biased MF", "SVD++": "SVD++"} | {
    "gcn": "GCN", "gat": "GAT", "sage": "GraphSAGE"
}  # fmt: skip
RANKING = {"popularity": "popularity", "EASE": "EASE", "gnn": "ranking GNN"}


def main() -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    # Text stays text, and the file has the same bytes each time.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "gnnrec", "font.size": 10})
    IMAGES.mkdir(parents=True, exist_ok=True)
    found = json.loads((RESULTS / "train_speed.json").read_text())
    figure, (speed, quality) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1.15, 1))
    _bars(speed, found)
    _curves(quality, found)
    _save(figure, "train_speed.svg")
    rows = json.loads((RESULTS / "quality.json").read_text())
    figure, (rating, ranking) = plt.subplots(1, 2, figsize=(10, 3), width_ratios=(1.3, 1))
    random = [row for row in rows if row["protocol"] == "random"]
    label = "test RMSE without time, three seeds; lower is better"
    _dots(rating, random, "ml-latest-small", RATING, "rmse_without_time", label)
    rating.set_title("Ratings: ml-latest-small, random 90/10", loc="left")
    _dots(
        ranking,
        rows,
        "ml-latest-small, splits 10 to 19",
        RANKING,
        "ndcg@100",
        "test NDCG@100, ten splits; higher is better",
    )
    ranking.set_title("Rankings: ml-latest-small, held-out users", loc="left")
    _save(figure, "quality.svg")


def _save(figure, name: str) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(IMAGES / name, metadata={"Date": None})
    print(IMAGES / name)


def _dots(axes, rows: list[dict], data: str, names: dict[str, str], metric: str, label: str) -> None:
    """Draws means, with a line of one standard deviation to each side."""
    of = {row["model"]: row["metrics"].get(metric) for row in rows if row["data"] == data}
    for place, model in enumerate(names):
        color = OURS if model in ("gcn", "gat", "sage", "gnn") else THEIRS
        mean, spread = of[model]["mean"], of[model]["spread"]
        axes.errorbar(mean, place, xerr=spread, fmt="o", color=color, markersize=7, capsize=3)
        axes.annotate(f"{mean:.4f}", (mean, place), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(names)), names.values())
    axes.set_ylim(-0.5, len(names) - 0.2)
    axes.margins(x=0.15)
    axes.set_xlabel(label)


def _bars(axes, found: dict) -> None:
    """Draws supervised ratings per second."""
    rows = [
        ("plain PyG, batch 1,024", found["plain_1024"], THEIRS),
        (f"plain PyG, batch {found['plain_batch']:,}", found["plain_best"], THEIRS),
        ("GAT, fan-out 10", found["ours_gat"], OURS),
        ("GCN, fan-out 10", found["ours_gcn"], OURS),
        ("GraphSAGE, fan-out 10", found["ours"], OURS),
        ("GraphSAGE, whole neighbourhoods", found["recipe_edges_per_second"], OURS),
    ]
    axes.barh([name for name, _, _ in rows], [rate / 1e3 for _, rate, _ in rows], color=[color for *_, color in rows])
    for place, (_, rate, _) in enumerate(rows):
        axes.annotate(f"{rate / 1e3:,.0f}", (rate / 1e3, place), (4, 0), textcoords="offset points", va="center")
    axes.margins(x=0.12)
    axes.set_xlabel("thousand ratings supervised a second")
    axes.set_title(f"Training speed, {found['threads']} CPU cores", loc="left")


def _curves(axes, found: dict) -> None:
    """Draws validation RMSE over training time."""
    for name, curve, color in (
        ("plain PyG", found["plain_curve"], THEIRS),
        ("gnnrec", found["ours_curve"], OURS),
    ):
        seconds, rmse = zip(*((each["seconds"], each["validation_rmse"]) for each in curve))
        axes.plot(seconds, rmse, color=color, label=name, linewidth=2)
    axes.set_xscale("log")
    top = found["plain_curve"][0]["validation_rmse"]
    axes.set_ylim(min(each["validation_rmse"] for each in found["ours_curve"]) - 0.005, min(top + 0.02, 1.0))
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("validation RMSE")
    axes.set_title("Time to quality", loc="left")
    axes.legend(frameon=False)


if __name__ == "__main__":
    main()
