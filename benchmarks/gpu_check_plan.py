"""Part of ``benchmarks.gpu_check`` that puts the projection of ``gnnrec plan`` next to what other parts measured."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from gnnrec.tools.planning.estimate import deployment_of, estimate
from gnnrec.tools.planning.options import PlanOptions

#: Part -> configuration and precision.
_MEASURED = {
    "full_float32": ("ml20m_full", "fp32"),
    "full_bf16": ("ml20m_full", "bf16"),
    "sage": ("ml20m_sage", "bf16"),
    "gat": ("ml20m_gat", "bf16"),
}


def plan(place: Path, quick: bool) -> dict:
    """Milliseconds and memory of a step: projected, and measured by the parts that have run."""
    log = (place / "gpu_check.jsonl").read_text(encoding="utf-8")
    measured = {record["part"]: record.get("figures") for record in map(json.loads, log.splitlines())}
    found = {}
    for part, (config, precision) in _MEASURED.items():
        options = PlanOptions(
            data=place / "data", config=Path(f"configs/{config}.yaml"), gpu=_card(quick), precision=precision
        )
        projected = estimate(options.job(), deployment_of(options))
        found[f"{part}_plan_ms"] = round(1e3 * projected.step_seconds, 3)
        found[f"{part}_plan_gb"] = round(projected.device_bytes / 1e9, 3)
        if measured.get(part):
            found[f"{part}_ms"], found[f"{part}_gb"] = measured[part]["ms_a_step"], measured[part]["peak_gb"]
    return found


def _card(quick: bool) -> str:
    """The card of ``gnnrec plan`` that is most like this one."""
    name = "" if quick else torch.cuda.get_device_name(0).lower()
    return "cpu" if quick else next((card for card in ("h200", "h100", "a100") if card in name), "h100")
