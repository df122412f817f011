"""Peak memory of a process while it builds the graph of a rank."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.export_scale import write_data
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.memory import reading_bytes

pytestmark = [pytest.mark.slow, pytest.mark.processes]

USERS, RATINGS_A_USER, MOVIES = 50_000, 80, 5_000
PROGRAM = """
import sys
from pathlib import Path
import torch
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.rank_graph import build_rank_graph

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))

torch.set_num_threads(1)
small, large = (PreparedDataset(path) for path in sys.argv[2:])
time = sys.argv[1] == "time"
build_rank_graph(small, World(), time=time).time_bins, build_rank_graph(small, World()).order  # compiles, imports
Path("/proc/self/clear_refs").write_text("5")  # resets the peak
before = status("VmRSS")
graph = build_rank_graph(large, World(), time=time)
graph.time_bins
built = status("VmHWM") - before
graph.order
print(built / graph.num_edges, (status("VmHWM") - before) / graph.num_edges)
"""


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("reading")
    write_data(place / "small", 300, 500, 40)
    write_data(place / "large", USERS, MOVIES, RATINGS_A_USER)
    return [place / "small", place / "large"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("times", ["time", "no time"])
def test_building_a_graph_takes_the_bytes_of_the_plan(directories, times):
    """The resident memory includes the pages of the memory-mapped column that is being read."""
    command = [sys.executable, "-c", PROGRAM, times, *map(str, directories)]
    # Without a fixed threshold, glibc keeps freed arrays of a few megabytes.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    built, by_movie = map(float, result.stdout.split())
    ratings = USERS * RATINGS_A_USER
    planned = reading_bytes(TrainingJob(USERS, MOVIES, ratings, movie_bins=24 * (times == "time"))) / ratings
    assert planned < 25 and 0.9 * planned < built < 1.1 * planned
    # Positions and users by movie are 8 bytes more than the graph, and sorting needs 4 for a while.
    graph = 13 + 6 * (times == "time")
    assert graph + 8 <= by_movie < 1.2 * (graph + 12)
