"""The manifest of an export, apart from its files."""

from __future__ import annotations

from gnnrec.data.prepared import PreparedDataset
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.new_movies import AllMovies
from gnnrec.inference.new_users import NewUsers
from gnnrec.inference.user_encoder import UserEncoder


def describe_export(
    loaded: LoadedRun,
    source: PreparedDataset | NewUsers,
    movies: AllMovies,
    encoder: UserEncoder,
    ratings: bool,
) -> dict:
    """Returns counts, how to score a pair, and what the export was made from.

    Args:
        loaded: The run.
        source: Users of the dataset or of files.
        movies: All movies.
        encoder: Encoder of the run.
        ratings: Users of files are those of ``--ratings``, and else of ``--user-features`` alone.
    """
    dataset = loaded.dataset
    of_files = {}
    if isinstance(source, NewUsers):
        names = ("num_ratings", "unknown_movies", "unknown_ratings", "fingerprint")
        facts = {name: getattr(source, name) for name in names}
        option = "--ratings" if ratings else "--user-features"
        of_files = {"ratings": {"file": source.directory.name, "option": option, **facts}}
    return {
        "objective": loaded.config.objective,
        "dim": encoder.movies.vector.shape[1],
        "users": source.num_users,
        "movies": len(movies.ids),
        "cold_users": int((source.cold if isinstance(source, NewUsers) else loaded.cold_users).sum()),
        "cold_movies": int(movies.cold(loaded).sum()),
        **({} if movies.new is None else {"new_movies": len(movies.new)}),
        **loaded.scoring(),
        "offset": float(encoder.offset),
        "model_fingerprint": loaded.info.fingerprint,
        "dataset_fingerprint": dataset.fingerprint,
        "interest_fingerprint": loaded.interest_fingerprint,
        "run": str(loaded.directory.parents[1].resolve()),
        "data": str(dataset.directory.resolve()),
        **of_files,
    }
