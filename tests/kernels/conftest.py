"""Fixtures for tests of kernels."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from gnnrec.kernels import threads

collect_ignore_glob = [] if importlib.util.find_spec("triton") else ["test_triton*.py"]


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def several_threads(request, monkeypatch):
    """Runs kernels on one thread and on three, even small ones."""
    monkeypatch.setattr(threads, "SMALL", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)
