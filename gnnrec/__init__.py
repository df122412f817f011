"""gnnrec: a distributed graph neural network recommender on the bipartite user-movie graph."""

import os

# Read when torch is first imported. Threads that wait without sleeping take the cores from those that compute: next to
# our own threads, another rank or any other process, steps then take several times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Read when torch first takes memory: large pages, which are cheaper to get.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
