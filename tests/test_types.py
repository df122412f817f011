"""Type hints, style and format are checked with the settings of pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [pytest.param("mypy", marks=pytest.mark.slow), "ruff check --no-cache", "ruff format --check --no-cache"],
)
def test_it_has_no_complaints(command: str):
    words = [sys.executable, "-m", *command.split()]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_a_wrong_type_would_be_noticed(tmp_path: Path):
    (tmp_path / "wrong.py").write_text("def double(number: int) -> int:\n    return str(number)\n")
    words = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", tmp_path / "cache"]
    result = subprocess.run([*words, tmp_path / "wrong.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1 and "[return-value]" in result.stdout
