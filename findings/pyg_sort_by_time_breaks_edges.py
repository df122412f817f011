"""PyG's ``sort_by_time``, ``up_to`` and ``snapshot`` move or drop nodes with a time, and leave the edges as they were.

Package: torch-geometric 2.8.1 with torch 2.13.0. Seen on 2026-11-29 with Python 3.11 on Linux.
Behavior: where movies have a ``time`` (their release) and ratings have one too, ``HeteroData.sort_by_time`` sorts the
rows of movies and, by themselves, the ratings. ``edge_index`` still has the old rows, so ratings belong to other
movies, and ``validate`` finds nothing. ``up_to`` and ``snapshot`` remove rows of movies in the same way: edges point to
other movies, or behind the last one. ``HeteroData.subgraph``, which selects nodes too, renumbers edges. The
documentation says that "data associated with time" is sorted, and that a snapshot holds the events up to a time.
Output: the ratings of each user by the years of the movies: before, 1990 and 2005 for user 0; after sorting, 1990 and
1995, though nothing was to change but the order
Matters to: graphs for PyG that have release years. gnnrec sorts ratings by itself and calls none of the three.
"""

import subprocess
import sys
import tempfile
import textwrap

PACKAGES = ["numpy==2.3.5", "torch==2.13.0", "torch-geometric==2.8.1"]
EXPECTED = """\
as made: user 0 rated [1990, 2005], user 1 rated [1995, 2001], valid True
sort_by_time: user 0 rated [1990, 1995], user 1 rated [2001, 2005], valid True
up_to(2001): user 0 rated [2001], user 1 rated [None], valid False
snapshot(1990, 2001): user 0 rated [2001], user 1 rated [None], valid False
subgraph: user 0 rated [1990], user 1 rated [1995, 2001], valid True"""
PROGRAM = """
    import torch
    from torch_geometric.data import HeteroData

    years = torch.tensor([2005, 1990, 2001, 1995])
    data = HeteroData()
    data["user"].num_nodes = 2
    data["movie"].x = years[:, None].float()
    data["movie"].time = years
    data["user", "rated", "movie"].edge_index = torch.tensor([[0, 0, 1, 1], [0, 1, 2, 3]])
    data["user", "rated", "movie"].time = years + 1


    def show(name, graph):
        rated, features = {0: [], 1: []}, graph["movie"].x[:, 0].int().tolist()
        for user, movie in graph["user", "rated", "movie"].edge_index.t().tolist():
            rated[user].append(features[movie] if movie < len(features) else None)
        try:
            valid = graph.validate()
        except ValueError:
            valid = False
        print(f"{name}: user 0 rated {sorted(rated[0])}, user 1 rated {sorted(rated[1])}, valid {valid}")


    show("as made", data)
    show("sort_by_time", data.sort_by_time())
    show("up_to(2001)", data.up_to(2001))
    show("snapshot(1990, 2001)", data.snapshot(1990, 2001))
    show("subgraph", data.subgraph({"movie": years <= 2001}))
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--target", folder, *PACKAGES]
        subprocess.run(install, check=True)
        # -I and -S leave out all packages but Python's own; the others come from the folder.
        words = [sys.executable, "-IS", "-c", f"import sys; sys.path.insert(0, {folder!r})\n{textwrap.dedent(PROGRAM)}"]
        result = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=600)
    seen = (result.stdout + result.stderr).strip()
    print(seen)
    if seen == EXPECTED:
        return 0
    print(f"changed; it was: {EXPECTED}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
