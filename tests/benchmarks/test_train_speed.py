"""The benchmark runs from end to end on tiny data. It says nothing about time."""

from __future__ import annotations

import sys

import pytest

from benchmarks import train_speed
from gnnrec.graph import pyg_sampler


@pytest.mark.skipif(pyg_sampler.sampling_library() is None, reason="plain PyG needs pyg-lib or torch-sparse")
def test_quick_prints_every_row_and_writes_no_file(monkeypatch, capsys):
    written = []
    monkeypatch.setattr(train_speed.record, "write", lambda *args: written.append(args))
    monkeypatch.setattr(sys, "argv", ["train_speed", "--quick"])
    train_speed.main()
    said = capsys.readouterr().out
    for name in ("GraphSAGE, 2 layers", "GCN, 2 layers", "GAT, 2 layers", "plain PyG, batch", "whole neighbourhoods"):
        assert name in said
    assert "validation RMSE" in said and "ours to the end: 140 steps" in said
    assert not written
