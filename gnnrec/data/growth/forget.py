"""``gnnrec prepare --forget-user``: removes users, their ratings and their features from a prepared dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa

from gnnrec.data.growth.append import finish
from gnnrec.data.growth.generations import change, now
from gnnrec.data.growth.merge import RatingChanges, merged_pointers
from gnnrec.data.growth.node_tables import write_rows
from gnnrec.data.layout import shown
from gnnrec.data.manifest_builder import user_table
from gnnrec.data.pairs import IdIndex
from gnnrec.data.prepared import ROWS_BEFORE, Manifest
from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.log import logger

#: Users without whom no dataset can be trained on.
_LEAST_USERS = 2


@dataclasses.dataclass
class ForgetOptions:
    """Options of ``gnnrec prepare --forget-user``.

    Args:
        forget_user: Raw ids of the users.
        receipt: File for the receipt, JSON; by default next to the dataset, such as mine.forgotten-20260701T120000.json
            for data/mine.
    """

    forget_user: list[str] = dataclasses.field(default_factory=list)
    receipt: Path | None = None


def forget_users(out: Path, options: ForgetOptions) -> Manifest:
    """Removes users, writes a receipt, and prints it in a few lines.

    The rows of the users after them move up; movies keep their rows, also those that no other user has rated. No file
    of the dataset has the removed ratings afterwards: files of the previous generation are removed at once.

    Args:
        out: A prepared dataset.
        options: The options.

    Returns:
        The manifest after the change.

    Raises:
        UserError: An id is unknown, or too few users would be left; nothing was changed.
    """
    if not options.forget_user:
        raise UserError("--forget-user needs the ids of users: pass one or more")
    time, place = now(), Path(out).resolve()
    stamp = time.split("+")[0].replace("-", "").replace(":", "")
    path = options.receipt or place.with_name(f"{place.name}.forgotten-{stamp}.json")
    files.check_replaceable_file(path, overwrite=False)
    with change(out) as opened:
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset, directory = opened.dataset, opened.directory
        ids = list(dict.fromkeys(options.forget_user))
        raw = dataset.table("users")["user"].combine_chunks()
        rows = IdIndex(raw).rows_of(np.array(ids, object))
        if (rows < 0).any():
            unknown = ids[int(np.flatnonzero(rows < 0)[0])]
            raise UserError(f"--forget-user {shown(unknown)}: {out} has no such user: check the id")
        kept = np.setdiff1d(np.arange(dataset.num_users), rows)
        if len(kept) < _LEAST_USERS:
            raise UserError(f"--forget-user: {out} would have {len(kept)} users left, and needs {_LEAST_USERS}")
        dataset.check()
        none = np.empty(0, np.int64)
        changes = RatingChanges(none, none, {}, none, {}, kept, len(kept))
        user_ptr = merged_pointers(np.asarray(dataset.user_ptr), changes)
        removed = dataset.num_ratings - int(user_ptr[-1])
        user_table(0, dataset.users["user"].to_numpy()[kept]).to_parquet(directory / "users.parquet", index=False)
        np.save(directory / ROWS_BEFORE["user"], kept.astype(np.int64), allow_pickle=False)
        write_rows(dataset, {"user": kept}, directory)
        counts = {"users": -len(ids), "ratings": -removed}
        entry = {"kind": "forget", "counts": counts, "time": time}
        totals = dataset.manifest.counts | {"users": len(kept), "ratings": int(user_ptr[-1])}
        manifest = dataclasses.replace(
            dataset.manifest, counts=totals, increments=[*dataset.manifest.increments, entry]
        )
        receipt = {
            "data": str(place),
            "time": time,
            "users": [value.as_py() for value in raw.take(pa.array(rows))],
            "ratings_removed": removed,
            "still_has_them": [
                "the ratings files that the dataset was prepared from",
                "runs, checkpoints and exports made before: train or update, export again, and remove the older ones",
                "copies and backups of any of these",
            ],
        }
        manifest = finish(opened, manifest, changes, user_ptr, keep_previous=False, receipt=(path, receipt))
    logger.info(
        f"{out}: users removed: {len(ids):,}, with {removed:,} ratings; now {manifest.counts['users']:,} users, "
        f"{manifest.counts['ratings']:,} ratings; receipt {path}"
    )
    logger.info("  vectors of earlier runs and exports still have them: train and export again, and remove those")
    return manifest
