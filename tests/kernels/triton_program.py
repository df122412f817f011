"""Runs programs with Triton kernels, which decide at their import whether the interpreter runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.pretend_gpu.fast_interpreter import speed_up
from tests.pretend_gpu.triton_kernels import interpreted


def run_program(name: str, arguments: list[str], cache: Path, interpreted: bool) -> dict:
    """Runs a module of this folder and returns the JSON object in its last line.

    Args:
        name: Name of the module.
        arguments: Its command line.
        cache: Directory for compiled kernels.
        interpreted: Run kernels in Triton's interpreter on the CPU.
    """
    variables = {"TRITON_INTERPRET": str(int(interpreted)), "TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", f"tests.kernels.{name}", *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def print_errors(cases: dict[str, Callable[[], None]]) -> None:
    """Runs cases and prints a JSON object with the error of each one, or an empty string."""
    if interpreted():
        speed_up()
    errors = {}
    for name, case in cases.items():
        try:
            case()
            errors[name] = ""
        except Exception:
            errors[name] = traceback.format_exc(limit=-4)
    print(json.dumps(errors))
