"""Compares all models on one dataset (``gnnrec compare``), and merges the rows into ``results/quality.json``.

    python -m benchmarks.quality --data PREPARED --name ml-latest-small
    python -m benchmarks.quality --data PREPARED --name ml-latest-small --models sage \\
        --label "sage, no user ids" --set model.user_ids=false

With several datasets after ``--data``, which are other splits of the same ratings, figures are over splits and seeds.
Rows of the same data, protocol and model are replaced, all others stay.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import record
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.tools.comparison import table
from gnnrec.tools.comparison.compare import CompareOptions, fit_all
from gnnrec.tools.comparison.models import choose

RESULT = record.RESULTS / "quality.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, nargs="+", type=Path, help="prepared dataset, or splits of one")
    parser.add_argument("--name", required=True, help="name of the data in the result")
    parser.add_argument("--models", nargs="+", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", nargs="+", default=[], action="extend")
    parser.add_argument("--label", default="")
    parser.add_argument("--out", type=Path, help="directory that keeps every fit, so that the same command resumes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = run(options, options.out or Path(scratch))
    print(table.as_text(rows))
    print(table.note(rows))
    merge(rows, RESULT)
    print(RESULT)


def run(options: argparse.Namespace, out: Path) -> list[dict]:
    """Compares on every split, and returns a row per model."""
    fits: dict[str, list[dict]] = {}
    for number, data in enumerate(options.data):
        dataset = PreparedDataset(data)
        objective, models = choose(options.models, dataset)
        given = CompareOptions(
            out / f"split-{number}", models, options.seeds, options.config, options.set, options.label,
            resume=(out / f"split-{number}").exists(),
        )  # fmt: skip
        for model, found in fit_all(data, given, objective, models, World()).items():
            fits.setdefault(model, []).extend(found)
    shared = {"data": options.name, "protocol": dataset.manifest.split["protocol"]}
    about = {"splits": len(options.data), "split": {k: v for k, v in dataset.manifest.split.items() if k != "counts"}}
    about |= {
        "config": str(options.config or ""),
        "command": record.command("benchmarks.quality"),
    } | record.provenance()
    return [table.row(found, **shared, model=options.label or model) | about for model, found in fits.items()]


def merge(rows: list[dict], path: Path) -> None:
    """Puts rows into a JSON list, each in the place of the row with its data, protocol and model."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    places = {_key(row): place for place, row in enumerate(stored)}
    for row in rows:
        if _key(row) in places:
            stored[places[_key(row)]] = row
        else:
            places[_key(row)] = len(stored)
            stored.append(row)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def _key(row: dict) -> tuple[str, str, str]:
    return row["data"], row["protocol"], row["model"]


if __name__ == "__main__":
    main()
