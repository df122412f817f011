"""Parts of the vectors of users of a run."""

from __future__ import annotations

from gnnrec.errors import UserError
from gnnrec.inference.list_encoder import ListEncoder
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.numpy_users.encoder import NumpyEncoder
from gnnrec.inference.numpy_users.parts import OwnRows, UserParts
from gnnrec.inference.numpy_users.run_arrays import encoder_files
from gnnrec.inference.ranking_encoder import RankingEncoder
from gnnrec.inference.rating_encoder import RatingEncoder
from gnnrec.inference.reasons.known import known_ratings
from gnnrec.inference.user_encoder import UserEncoder


def run_encoder(loaded: LoadedRun, encoder: UserEncoder) -> NumpyEncoder:
    """Builds the encoder in NumPy of a run.

    Raises:
        UserError: The run has a layer of the user's own.
    """
    files = encoder_files(loaded, encoder)
    if files is None:
        raise UserError(
            f"--why: the layer {loaded.config.model.architecture} of this run has no code in NumPy, which splits "
            "scores: reasons are there for gat, gcn and sage"
        )
    return NumpyEncoder(files)


def parts_of_run(loaded: LoadedRun, encoder: NumpyEncoder, users: UserEncoder, row: int) -> UserParts:
    """Splits the vector of a user.

    Args:
        loaded: The run.
        encoder: Result of :func:`run_encoder`.
        users: Encoder of the users, of the dataset or of files.
        row: Row of the user among them.
    """
    rating, own, x = users.rating if isinstance(users, ListEncoder) else users, None, None
    assert isinstance(rating, (RatingEncoder, RankingEncoder))
    dataset = rating.chunks.dataset if isinstance(rating, RatingEncoder) else rating.dataset
    if isinstance(rating, RatingEncoder):
        rows = {name: table[0].cpu().double().numpy() for name, table in rating.rows.read(range(row, row + 1)).items()}
        own = OwnRows(rows.get("id_embedding"), rows.get("message_embedding"), float(rows["bias"]))
        x = rows.get("x")
    return encoder.explained(*known_ratings(dataset, row, loaded.known_splits), x=x, own=own)
