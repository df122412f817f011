"""Compiles Triton kernels for statistics: ``python -m tests.kernels.triton_statistics_resources``.

Prints a JSON object with the resources of each kernel for each GPU.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from gnnrec.kernels import fold_biases_triton, residuals_triton, statistics_triton, temporal_biases_triton, time_triton
from gnnrec.kernels.chunks_triton import CHUNK
from gnnrec.kernels.fold_biases import WIDTHS
from gnnrec.kernels.lanes_triton import tile_rows
from tests.kernels.triton_compiling import CAPABILITIES, resources

#: Types of arguments by name; others are float tensors.
TYPES = {
    "*i64": "pointer target_start message_pointer target_pointer query_pointer",
    "*i32": "num_targets movie user order cell cell_movie sent_movie target_movie slot time query_time index count_out",
    "*u8": "fold steps follows level group sent_level category year",
    "*i1": "kept",
    "i32": "first_fold lists extras first_user first_edge last_edge rows users excluded half_width movie_half_width",
}
OF_NAME = {name: kind for kind, names in TYPES.items() for name in names.split()}


def lanes_of(lanes: int, dtype: torch.dtype = torch.float32, tiles: int = 1) -> dict[str, int]:
    return {"LANES": lanes, "ROWS": tile_rows(lanes, dtype, tiles)}


def kernels() -> dict[str, tuple[Any, dict, dict]]:
    """Returns the kernels, values of their constants, and types of arguments that do not follow from their names."""
    widest = lanes_of(max(WIDTHS))
    shrinkages = {"SHRINKAGES": (10.0, 2.0), "MOVIE_SHRINKAGE": 100.0}
    second_window = {**lanes_of(max(WIDTHS), tiles=2), **shrinkages, "WINDOW": 1, "stage": None}
    folds = {"WIDTH": 16, "COLUMNS": 16, "ROWS": tile_rows(16, torch.float64), "CHUNK": CHUNK}
    windows = {"QUERIES": time_triton._QUERIES, "ENTRIES": time_triton._ENTRIES}
    bins = {"HALF_WIDTHS": (43_200, 120), "ROWS": time_triton._ROWS}
    counts = {"out": "*i64", "users": "i64"}
    split = {"ROWS": residuals_triton._ROWS, "SCALE": 4 / 3}
    return {
        "user biases": (fold_biases_triton._user_biases, {"SHRINKAGE": 5.0, **widest}, {}),
        "sums over raters": (fold_biases_triton._sum_raters, {"CHUNK": CHUNK, **widest}, {}),
        "sums over years": (fold_biases_triton._sum_years, {"CHUNK": CHUNK, **widest}, {}),
        "bins": (temporal_biases_triton._sum_bins, second_window, {}),
        "temporal biases": (temporal_biases_triton._target_biases, {**widest, **shrinkages, "WINDOWS": 2}, {}),
        "fold sums": (statistics_triton._sum_categories, folds, {"sum_out": "*fp64"}),
        "counted messages": (residuals_triton._count_messages, {"ROWS": residuals_triton._ROWS}, counts),
        "residuals": (residuals_triton._split_edges, split, {}),
        "window sums": (time_triton._sum_windows, windows, {}),
        "time bins": (time_triton._time_bins, bins, {}),
    }


def main() -> None:
    """Compiles all kernels for all GPUs, and the largest one also for fewer lanes and in float64."""
    result = {}
    for name, (kernel, constants, others) in kernels().items():
        names = [argument for argument in kernel.arg_names if argument not in constants]
        types = {argument: OF_NAME.get(argument, "*fp32") for argument in names} | others
        for capability in CAPABILITIES:
            result[f"{name} {capability}"] = resources(kernel, types, constants, capability)
        if name == "bins":
            alone = {**constants, **lanes_of(1, tiles=2)}
            del alone["stage"]
            result["bins of one lane"] = resources(kernel, types | {"stage": "*fp32"}, alone, 90)
            result["bins of four lanes"] = resources(kernel, types, constants | lanes_of(4, tiles=2), 100)
            exact = {argument: kind.replace("fp32", "fp64") for argument, kind in types.items()}
            large = constants | lanes_of(max(WIDTHS), torch.float64, 2)
            result["bins in float64"] = resources(kernel, exact, large, 100)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
