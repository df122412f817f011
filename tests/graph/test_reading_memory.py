"""Peak memory of a process while it builds the graph of a rank."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.export_scale import write_data

pytestmark = [pytest.mark.slow, pytest.mark.processes]

RATINGS_A_USER, USERS = 80, 25_000
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
    write_data(place / "large", USERS, 5_000, RATINGS_A_USER)
    return [place / "small", place / "large"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("times", "most", "most_by_movie"), [("time", 28, 38), ("no time", 22, 32)])
def test_building_a_graph_takes_few_bytes_per_rating(directories, times, most, most_by_movie):
    """The resident memory includes the pages of the memory-mapped column that is being read."""
    command = [sys.executable, "-c", PROGRAM, times, *map(str, directories)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    built, by_movie = map(float, result.stdout.split())
    # Movie, rating, level and id are 13 bytes, times and their bins 6, positions and users by movie 8.
    assert 13 <= built < most
    assert 21 <= by_movie < most_by_movie
