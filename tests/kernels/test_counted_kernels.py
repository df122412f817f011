"""Launches and bytes of Triton kernels on the pretend GPU, against numbers computed by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from tests.pretend_gpu.counting import moved

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results() -> dict:
    command = [sys.executable, "-m", "tests.pretend_gpu.known_kernels"]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_launch_counts_once_and_only_if_it_has_programs(results):
    assert results["gather"]["launches"] == 1
    assert results["gather"]["triton"] == {"__main__._gather": 1}


def test_bytes_are_those_of_unmasked_loads_and_stores(results):
    # 10 entries of 4 bytes, and for each of them a row of 5 float64 numbers, read and written
    assert results["gather"]["bytes"] == {"__main__._gather": 10 * 4 + 2 * 10 * 5 * 8}


def test_numbers_in_bfloat16_have_two_bytes(results):
    assert results["narrow"]["bytes"] == {"__main__._gather": 10 * 4 + 10 * 5 * (2 + 4)}
    assert results["narrow"]["equal"] is True


def test_programs_that_take_different_ways_count_like_single_ones(results):
    lengths, tiles = [3, 0, 5, 9, 1], 1 + 0 + 2 + 3 + 1
    # two starts; a number read and written once, for each tile, and in every other program; and the entries
    traffic = 5 * 2 * 8 + 5 * 8 + tiles * 8 + 3 * 8 + sum(lengths) * 4
    assert results["diverging"]["bytes"] == {"__main__._list_sums": traffic}
    totals, begin = [], 0
    for number, length in enumerate(lengths):
        total = number + 1 + sum(range(begin, begin + length))
        totals.append(total if number % 2 else -total)
        begin += length
    assert results["diverging"]["sums"] == totals


def test_kernels_compute_with_the_values_of_the_device(results):
    assert results["gather"]["equal"] is True


def test_a_launch_with_tensors_of_two_devices_is_an_error(results):
    assert "_gather got tensors on the CPU" in results["mixed"]
    assert (results["mixed mixes devices"], results["gather mixes devices"]) == (1, 0)


def test_atomic_operations_are_refused(results):
    assert "atomic operation" in results["atomic"]


def test_adam_reads_four_tables_and_writes_three():
    tables = [torch.zeros(5, 3) for _ in range(4)]
    arguments = ([tables[0]], [tables[1]], [tables[2]], [tables[3]], [], [torch.zeros(())])
    assert moved("_fused_adam_", arguments, {}, None) == 7 * 15 * 4 + 4
