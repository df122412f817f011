"""Triton kernels against plain torch, in Triton's interpreter and on a GPU if available, and compiled for GPUs."""

from __future__ import annotations

import functools

import pytest
import torch

from gnnrec.kernels import dispatch
from gnnrec.kernels.sums import bag
from tests.kernels.triton_cases import PAIRS, SUMS
from tests.kernels.triton_program import run_program

pytestmark = pytest.mark.slow

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
CASES = [f"{direction} {name}" for direction in ("gather", "scatter") for name in SUMS]
CASES += [f"pairs {name}" for name in PAIRS] + ["columns of a wider table", "no entries"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Function that runs the cases on a device and returns the error of each case."""
    cache = tmp_path_factory.mktemp("triton")

    @functools.cache
    def run(where: str) -> dict[str, str]:
        return run_program("triton_cases", [where], cache, interpreted=where == "cpu")

    return run


@pytest.mark.parametrize("device", DEVICES)
def test_every_case_runs(results, device):
    assert sorted(results(device)) == sorted(CASES)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("device", DEVICES)
def test_values_and_gradients_equal_plain_torch(results, device, case):
    assert results(device)[case] == ""


def test_kernels_compile_for_gpus(results):
    actual = results("compiler")
    assert len(actual) >= 9
    assert {name: error for name, error in actual.items() if error} == {}


def test_wide_tables_are_read_in_blocks_of_columns(monkeypatch):
    """The weights of EASE have a column for each movie, more than a tile of one warp can hold."""
    sums_triton = pytest.importorskip("gnnrec.kernels.sums_triton", exc_type=ImportError)
    movies, launches = 9_724, []

    class Recorder:
        def __getitem__(self, grid):
            return lambda *arguments, **options: launches.append((grid, arguments[-2:]))

    for kernel in ("_add_chunks", "_add_to_lists"):
        monkeypatch.setattr(sums_triton, kernel, Recorder())
    pointer, entry = torch.tensor([0, 600, 650]), torch.zeros(650, dtype=torch.int32)
    with dispatch.forced("triton"):
        assert bag(torch.zeros(3, movies), entry, pointer).shape == (2, movies)
        bag(torch.zeros(3, 64), entry, pointer)
    (chunks, tile), (_, added), (narrow, _), _ = launches
    assert chunks == (3, 38) and tile == added == (4, 256) and narrow == (3, 1)
