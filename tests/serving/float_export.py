"""Exports whose scores are rounded: one bit differs where they are computed in another way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data.prepared import PreparedDataset
from gnnrec.utils.files import sha256
from tests.inference.made_export import make_export


def make_float_export(dataset: PreparedDataset, out: Path, seed: int = 1, **kind) -> Path:
    """Writes an export as :func:`make_export`, with normal numbers for vectors, biases and weights."""
    make_export(dataset, out, **kind)
    rng = np.random.default_rng(seed)
    manifest = json.loads((out / "manifest.json").read_text())
    for name in manifest["files"]:
        if name == "head.npz":
            with np.load(out / name) as head:
                arrays = {key: rng.normal(size=head[key].shape).astype(np.float32) for key in head.files}
            np.savez(out / name, **arrays)
        else:
            table = pq.read_table(out / name)
            values = rng.normal(size=(len(table), manifest["dim"])).astype(manifest["dtype"])
            flat = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), manifest["dim"])
            table = table.set_column(1, "embedding", flat)
            table = table.set_column(2, "bias", pa.array(rng.normal(size=len(table)).astype(np.float32)))
            pq.write_table(table, out / name, row_group_size=4)
        manifest["files"][name] = {"bytes": (out / name).stat().st_size, "sha256": sha256(out / name)}
    (out / "manifest.json").write_text(json.dumps(manifest | {"model_fingerprint": f"floats {seed}"}))
    return out
