"""Lists the Triton kernels that tests cover: ``python -O -m tests.pretend_gpu.tested_kernels KIND``.

Calls the programs of ``tests/kernels`` and prints a JSON list. With the kind ``interpreted``, which needs
``TRITON_INTERPRET=1``, these are the kernels that the cases of ``triton*_cases.py`` launch. With ``compiled``, which
needs it to be 0, those that these cases and ``triton*_resources.py`` pass to the compiler. Neither kernels nor the
compiler run here, other tests do that; ``-O`` leaves out the assertions of the cases, so that all of a case is called.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import triton

from tests.pretend_gpu.triton_kernels import kernel_name

FOLDER = Path(__file__).parents[1] / "kernels"


def run_programs(pattern: str, *arguments: str) -> None:
    """Runs the modules of ``tests/kernels`` that a pattern finds; errors are those of other tests."""
    for path in sorted(FOLDER.glob(pattern)):
        module = f"tests.kernels.{path.stem}"
        with (
            mock.patch.object(sys, "argv", [module, *arguments]),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.suppress(Exception),
        ):
            runpy.run_module(module, run_name="__main__")


def interpreted() -> set[str]:
    """Names of the kernels that interpreter cases launch. They do not run here, and nothing is compared."""
    from triton.runtime.interpreter import InterpretedFunction

    names = set()

    def launch(kernel: Any, *_: Any, **__: Any) -> None:
        names.add(kernel_name(kernel))

    with mock.patch.object(InterpretedFunction, "run", launch), mock.patch("torch.testing.assert_close"):
        run_programs("triton*_cases.py", "cpu")
    return names


def compiled() -> set[str]:
    """Names of the kernels that are compiled, by ``triton.compile`` or by ``resources`` of ``triton_compiling``."""
    names = set()

    def compile_source(source: Any, *_: Any, **__: Any) -> Any:
        names.add(kernel_name(source.fn))
        return mock.MagicMock()

    def resources(kernel: Any, *_: Any, **__: Any) -> dict[str, int]:
        names.add(kernel_name(kernel))
        return {"registers": 1, "spills": 0, "shared": 0}

    def resources_of(source: Any, *_: Any, **__: Any) -> dict[str, int]:
        return resources(source.fn)

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(triton, "compile", compile_source))
        if importlib.util.find_spec("tests.kernels.triton_compiling"):
            module = importlib.import_module("tests.kernels.triton_compiling")
            patches.enter_context(mock.patch.object(module, "resources", resources))
            patches.enter_context(mock.patch.object(module, "resources_of", resources_of))
        run_programs("triton*_cases.py", "compiler")
        run_programs("triton*_resources.py")
    return names


if __name__ == "__main__":
    if __debug__:
        raise SystemExit("tested_kernels: call it with python -O: a case ends at its first assertion")
    print(json.dumps(sorted({"interpreted": interpreted, "compiled": compiled}[sys.argv[1]]())))
