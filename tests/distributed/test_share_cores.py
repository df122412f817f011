"""Threads per rank."""

from __future__ import annotations

import os

import pytest
import torch

from gnnrec.distributed.process_group import share_cores


@pytest.mark.parametrize(
    ("variable", "ranks", "threads"),
    [
        (None, 1, 16),
        (None, 2, 8),
        (None, 32, 1),
        ("1", 1, 1),  # set by the user
        ("1", 2, 8),  # torchrun's default
        ("3", 2, 3),  # fewer than a rank's share
        ("16", 2, 8),  # all cores of the machine
        ("16", 1, 16),
    ],
)
def test_ranks_share_sixteen_cores(monkeypatch, variable, ranks, threads):
    num_threads = [int(variable or 16)]  # as torch reads the variable
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", num_threads.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(16))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    share_cores()
    assert num_threads[-1] == threads
