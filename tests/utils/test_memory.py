"""keep_freed reuses freed memory, so tensors of later steps cause no page faults."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import json, resource, sys
import torch
from gnnrec.utils import memory

if sys.argv[1] == "keep":
    memory.keep_freed()

faults = []
for step in range(21):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(10_000_000).fill_(1)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps(faults))
"""


def page_faults(mode: str) -> float:
    """Median page faults per step, since the kernel may move pages in any step."""
    result = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return statistics.median(json.loads(result.stdout))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_kept_memory_causes_fewer_page_faults():
    assert page_faults("keep") < 0.2 * page_faults("leave")
