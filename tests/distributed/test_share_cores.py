"""Threads of a rank."""

from __future__ import annotations

import os

import pytest
import torch

from gnnrec.distributed.process_group import share_cores


@pytest.mark.parametrize(
    ("chosen", "ranks", "threads"),
    [
        (None, 1, 16),
        (None, 2, 8),
        (None, 32, 1),
        ("1", 1, 1),  # asked for
        ("1", 2, 8),  # torchrun's own default
        ("3", 2, 3),  # fewer than there are
        ("16", 2, 8),  # all of the machine's
        ("16", 1, 16),
    ],
)
def test_ranks_share_sixteen_cores(monkeypatch, chosen, ranks, threads):
    found = [int(chosen or 16)]  # as torch reads the variable
    monkeypatch.setattr(torch, "get_num_threads", lambda: found[-1])
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(16))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    if chosen is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    share_cores()
    assert found[-1] == threads
