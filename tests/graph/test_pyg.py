"""Importing PyG through gnnrec does not tell users of functions that PyG uses, and hides no other warning."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: ``torch.jit.script`` warns as in torch 2.14, whatever torch this is; PyG calls it while it is imported.
PROGRAM = """
import warnings, torch
script, calls = torch.jit.script, 0

def warning_script(function):
    global calls
    calls += 1
    warnings.warn("`torch.jit.script` is deprecated. Please switch to `torch.compile`.", FutureWarning)
    warnings.warn(f"another warning {calls}", FutureWarning)
    return function

torch.jit.script = warning_script
import gnnrec.training.run
print(calls)
torch.jit.script(len)
"""


@pytest.mark.slow
def test_the_warning_of_newer_torch_is_kept_from_users_and_others_are_not():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    calls = int(result.stdout)
    assert calls > 0
    shown = [line for line in result.stderr.splitlines() if "FutureWarning: " in line]
    assert len([line for line in shown if "another warning" in line]) == calls + 1
    deprecated = [line for line in shown if "`torch.jit.script` is deprecated" in line]
    assert len(deprecated) == 1 and result.stderr.index(deprecated[0]) > result.stderr.index(f"another warning {calls}")
