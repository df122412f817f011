"""Options of ``gnnrec publish``."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass
class PublishOptions:
    """Options of ``gnnrec publish``.

    Args:
        to: Folder to make.
        with_users: Publish the ids and the vectors of users too. Without them the folder tells nothing about a single
            user, and runs that start from it begin with new rows for all of theirs.
        optimizer: Publish the state of the optimizer, with which training goes on as from the run itself; false makes
            the folder a third of the size.
        license: License of the model for its card, by its id on the hub, such as mit or cc-by-nc-4.0; by default none
            is stated.
        data: Prepared dataset, if it has moved since training; by default the one that is recorded.
        overwrite: Replace a published folder.
    """

    to: Path
    with_users: bool = False
    optimizer: bool = True
    license: str = ""
    data: Path | None = None
    overwrite: bool = False
