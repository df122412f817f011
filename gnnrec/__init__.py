"""gnnrec: a distributed graph neural network recommender on the bipartite user-movie graph.

    import gnnrec

    data = gnnrec.prepare("data/mine", ratings)          # a file or a pandas DataFrame
    run = gnnrec.train(data, "runs/mine", optimizer={"epochs": 10})
    gnnrec.evaluate(run)                                 # metrics on held-out ratings
    gnnrec.recommend(run, user=42)                       # a DataFrame
    gnnrec.similar(run, "Heat (1995)")
    gnnrec.predict(run, "pairs.csv")                     # the rating of each pair
    vectors = gnnrec.embed(run)                          # DataFrames by raw ids
    gnnrec.export(run, "exports/mine")                   # the same in files
    gnnrec.report(run)                                   # an HTML page
    gnnrec.update(run, new_ratings, out="live/mine")     # the next generation, when data have grown

Bad input raises :class:`gnnrec.UserError`, whose message names the way out. docs/python.md has all functions.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from gnnrec._version import __version__
from gnnrec.errors import Stopped, UserError

# Read when torch is first imported. Threads that wait without sleeping take the cores from those that compute: next to
# our own threads, another rank or any other process, steps then take several times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Read when torch first takes memory: large pages, which are cheaper to get.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if TYPE_CHECKING:
    from gnnrec.api.comparison import compare
    from gnnrec.api.data import prepare
    from gnnrec.api.evaluation import evaluate
    from gnnrec.api.exporting import export
    from gnnrec.api.movies import recommend, similar
    from gnnrec.api.prediction import predict
    from gnnrec.api.reports import report
    from gnnrec.api.training import Run, train
    from gnnrec.api.updating import Update, append, update
    from gnnrec.api.vectors import Embeddings, embed
    from gnnrec.data.prepared import PreparedDataset

__all__ = [
    "__version__",
    "Embeddings",
    "PreparedDataset",
    "Run",
    "Stopped",
    "Update",
    "UserError",
    "append",
    "compare",
    "embed",
    "evaluate",
    "export",
    "predict",
    "prepare",
    "recommend",
    "report",
    "similar",
    "train",
    "update",
]

# Imported when they are asked for: torch and pandas take longer than many a command.
_PLACES = {
    "prepare": "gnnrec.api.data",
    "PreparedDataset": "gnnrec.data.prepared",
    "train": "gnnrec.api.training",
    "Run": "gnnrec.api.training",
    "evaluate": "gnnrec.api.evaluation",
    "export": "gnnrec.api.exporting",
    "report": "gnnrec.api.reports",
    "compare": "gnnrec.api.comparison",
    "embed": "gnnrec.api.vectors",
    "Embeddings": "gnnrec.api.vectors",
    "predict": "gnnrec.api.prediction",
    "recommend": "gnnrec.api.movies",
    "similar": "gnnrec.api.movies",
    "append": "gnnrec.api.updating",
    "update": "gnnrec.api.updating",
    "Update": "gnnrec.api.updating",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'gnnrec' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
