"""Freed memory is kept: tensors of later steps take no new pages from the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from gnnrec import memory

if sys.argv[1] == "keep":
    memory.keep_freed()

def step():
    torch.empty(10_000_000).fill_(1)

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_kept_memory_is_not_asked_for_again():
    assert page_faults("keep") < 0.2 * page_faults("leave")
