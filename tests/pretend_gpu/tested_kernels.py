"""Lists the Triton kernels that tests cover: ``python -m tests.pretend_gpu.tested_kernels``.

Runs the interpreter cases of every ``tests/kernels/triton*_cases.py``, and prints a JSON object: ``interpreted`` has
the kernels that they launched, ``compiled`` those that the compile cases and tests name. Needs ``TRITON_INTERPRET=1``.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from triton.runtime.interpreter import InterpretedFunction

from tests.pretend_gpu.triton_kernels import kernel_name

FOLDER = Path(__file__).parents[1] / "kernels"


def interpreted() -> set[str]:
    """Names of the kernels that interpreter cases launch."""
    names, run = set(), InterpretedFunction.run

    def launch(kernel: Any, *arguments: Any, **options: Any) -> Any:
        names.add(kernel_name(kernel))
        return run(kernel, *arguments, **options)

    with mock.patch.object(InterpretedFunction, "run", launch):
        for path in sorted(FOLDER.glob("triton*_cases.py")):
            module = f"tests.kernels.{path.stem}"
            with mock.patch.object(sys, "argv", [module, "cpu"]), contextlib.redirect_stdout(io.StringIO()):
                runpy.run_module(module, run_name="__main__")
    return names


def named_in_compile_tests() -> set[str]:
    """Names ``MODULE_triton._kernel`` in the files that compile kernels."""
    names = set()
    for path in FOLDER.glob("*triton*.py"):
        text = path.read_text(encoding="utf-8")
        if "GPUTarget" not in text and "resources(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id.endswith("_triton"):
                    names.add(f"{node.value.id}.{node.attr}")
            if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("_triton"):
                names |= {f"{node.module.rpartition('.')[2]}.{alias.name}" for alias in node.names}
    return names


if __name__ == "__main__":
    print(json.dumps({"interpreted": sorted(interpreted()), "compiled": sorted(named_in_compile_tests())}))
