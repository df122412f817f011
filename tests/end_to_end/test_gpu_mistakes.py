"""Mistakes on hosts with GPUs, which torch is told that it sees: each ends with exit code 2 and one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import train_dist
from gnnrec.distributed import devices
from gnnrec.distributed.exit import exit_on_user_error

TRAIN = ["--data", "nothing", "--device", "cuda", "--wandb.mode", "disabled"]


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch):
    """One card that is able to do everything; nothing is computed on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Old Card")
    monkeypatch.setattr(devices, "has_triton", lambda: True)
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def refusal(capfd: pytest.CaptureFixture, run: Path, *words: str) -> str:
    """The one line on standard error; no run directory is made."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as end, exit_on_user_error("train_dist.py"):
        train_dist.main([*TRAIN, "--run-dir", str(run), *words])
    lines = capfd.readouterr().err.splitlines()
    assert end.value.code == 2 and len(lines) == 1, lines
    assert not run.exists()
    return lines[0]


def test_no_card(one_gpu, capfd, tmp_path):
    one_gpu.setattr(torch.cuda, "is_available", lambda: False)
    said = refusal(capfd, tmp_path / "run")
    assert "--device cuda: torch sees no CUDA device" in said and "--device cpu" in said


def test_more_ranks_than_cards(one_gpu, capfd, tmp_path):
    for name, value in {"WORLD_SIZE": 3, "LOCAL_WORLD_SIZE": 3, "RANK": 0, "LOCAL_RANK": 0}.items():
        one_gpu.setenv(name, str(value))
    said = refusal(capfd, tmp_path / "run")
    assert "3 ranks on this host, and 1 visible GPUs: lower --nproc-per-node to 1" in said and "--device cpu" in said


def test_no_triton(one_gpu, capfd, tmp_path):
    one_gpu.setattr(devices, "has_triton", lambda: False)
    said = refusal(capfd, tmp_path / "run")
    assert "Triton is not installed" in said and "pip install triton" in said and "--device cpu" in said


def test_a_card_without_bfloat16(one_gpu, capfd, tmp_path):
    one_gpu.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    said = refusal(capfd, tmp_path / "run")
    assert "Old Card has no bfloat16: pass --bf16 false" in said
    # Without bfloat16 the card is accepted, and the next mistake is the missing dataset.
    assert "nothing" in refusal(capfd, tmp_path / "run", "--bf16", "false")


def test_triton_is_looked_for(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not devices.has_triton()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "triton")
    assert devices.has_triton()
