"""Whether a prepared dataset is the one that a run or an export was made from."""

from __future__ import annotations

from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError


def check_same(dataset: PreparedDataset, fingerprint: str, whose: str) -> None:
    """Checks a dataset.

    Args:
        dataset: The dataset.
        fingerprint: That of the dataset that is wanted.
        whose: What was made from it: ``of EXPORT``, or ``that RUN was trained on``.

    Raises:
        UserError: It is another one, or has grown.
    """
    if dataset.fingerprint == fingerprint:
        return
    if dataset.manifest.increments:
        raise UserError(
            f"{dataset.directory} is not the dataset {whose}, or no longer, since ratings were appended or removed: "
            "use its newest run or export, or pass a copy from before with --data"
        )
    raise UserError(f"{dataset.directory} is not the dataset {whose}: pass the right one with --data")
