"""Whether a prepared dataset is the one that a run or an export was made from."""

from __future__ import annotations

from pathlib import Path

from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError


def open_recorded(recorded: str | Path, given: Path | None, fingerprint: str, whose: str) -> PreparedDataset:
    """Opens the dataset of a run or an export.

    Args:
        recorded: Its directory when that was made; relative to the working directory of then, if it is relative.
        given: ``--data``, its directory now; None for the recorded one.
        fingerprint, whose: As for :func:`check_same`.

    Raises:
        UserError: It is not there, damaged, another one, or has grown.
    """
    if given is None and not Path(recorded).exists():
        raise UserError(f"{recorded}, the dataset {whose}, does not exist: pass its path with --data")
    dataset = PreparedDataset(Path(given or recorded))
    check_same(dataset, fingerprint, whose)
    return dataset


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
