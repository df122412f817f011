"""gnnrec: a distributed graph neural network recommender on the bipartite user-movie graph."""

__version__ = "0.1.0"
