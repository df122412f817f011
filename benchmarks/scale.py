"""Collects the figures of docs/scale.md in one file, from the results of the benchmarks that measured them.

    python -m benchmarks.scale

Measures nothing: it names the command and the commit of each figure. To the measurements of training by size it adds
the predictions of ``gnnrec plan`` for the same runs.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import record
from gnnrec.tools.planning.estimate import deployment_of, estimate
from gnnrec.tools.planning.options import PlanOptions

PARTS = ("scale_prepare", "scale_throughput", "rank_quality", "plan", "hosts", "user_rows", "many_movies")
ROOT = Path(__file__).parents[1]
#: Share of training ratings in the default split.
_TRAIN = 0.9 * 0.95


def main() -> None:
    found = {name: json.loads((record.RESULTS / f"{name}.json").read_text()) for name in PARTS}
    prepare, sizes, quality = found["scale_prepare"], found["scale_throughput"], found["rank_quality"]
    figures = {
        "prepare_ratings_per_s": prepare["prepare_ratings_per_s"],
        "prepare_peak_gb": prepare["prepare_peak_gb"],
        "throughput_2m": sizes["rows"][0]["edges_per_second"],
        "throughput_200m": sizes["rows"][-1]["edges_per_second"],
        "throughput_unit": f"supervised ratings a second on {sizes['ranks']} ranks",
        "peak_gb_by_ratings": {str(row["ratings"]): _peaks(row, sizes) for row in sizes["rows"]},
        "rmse_by_ranks": {
            ranks: {"mean": row["mean"], "spread": row["spread"]} for ranks, row in quality["rmse_by_ranks"].items()
        },
        "plan_error": found["plan"]["plan_error"],
        "plan_worst": found["plan"]["worst"],
        "from": {name: {"command": part["command"], "commit": part["commit"]} for name, part in found.items()},
    }
    print(json.dumps(figures, indent=1))
    print(record.write("scale", "benchmarks.scale", figures))


def _peaks(row: dict, sizes: dict) -> dict[str, float]:
    """Peak memory of a rank, measured and by the plan's formula."""
    options = PlanOptions(
        users=row["users"], movies=row["movies"], ratings=round(row["ratings"] * _TRAIN), gpus=sizes["ranks"],
        config=ROOT / "configs" / f"{sizes['config']}.yaml", memory=1e6,
    )  # fmt: skip
    planned = estimate(options.job(), deployment_of(options))
    predicted = max(planned.device_bytes, planned.reading) / 1e9
    return {"measured": row["peak_gb"], "predicted": predicted, "error": predicted / row["peak_gb"] - 1}


if __name__ == "__main__":
    main()
