"""The chart in the README, from ``results/train_speed.json``.

python -m benchmarks.chart
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.record import RESULTS

#: Where the chart goes.
CHART = Path(__file__).parents[1] / "docs" / "images" / "train_speed.svg"
OURS, THEIRS = "#1f6f8b", "#b8b8b8"


def main() -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    # Text stays text, and the file the same however often it is made.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "gnnrec", "font.size": 10})
    found = json.loads((RESULTS / "train_speed.json").read_text())
    figure, (speed, quality) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1.15, 1))
    _bars(speed, found)
    _curves(quality, found)
    for axes in (speed, quality):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    CHART.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(CHART, metadata={"Date": None})
    print(CHART)


def _bars(axes, found: dict) -> None:
    """Supervision edges a second."""
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
    """Validation RMSE over training time."""
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
