"""Finds what is wrong in the manifest of a prepared dataset."""

from __future__ import annotations

import math
from typing import Any

from gnnrec.data.shard_check import whole_numbers


def find_problem(manifest: Any, split_names: tuple[str, ...]) -> str | None:
    """Checks for mistakes that other programs that write the format may make; returns the first, or None.

    Args:
        manifest: A :class:`gnnrec.data.prepared.Manifest`.
        split_names: Names of all splits.
    """
    counts, rating, split = manifest.counts, manifest.rating, manifest.split
    missing = [name for name in ("users", "movies", "ratings") if not whole_numbers([counts.get(name)])]
    missing += [name for name in ("protocol", "counts") if name not in split]
    missing += [name for name in ("min", "max", "mean", "std", "levels") if name not in rating]
    if missing:
        return f"no {missing[0]}"
    if set(split["counts"]) != set(split_names) or not whole_numbers(split["counts"].values()):
        return "split.counts does not count the ratings of every split"
    if sum(split["counts"].values()) != counts["ratings"]:
        return f"split.counts adds up to {sum(split['counts'].values())}, not to {counts['ratings']} ratings"
    levels = rating["levels"]
    if not all(math.isfinite(value) for value in (*levels, *(rating[name] for name in ("min", "max", "mean", "std")))):
        return "a number of rating is not finite"
    if not rating["std"] > 0:
        return f"a standard deviation of {rating['std']}"
    if rating["min"] > rating["max"]:
        return f"a rating scale from {rating['min']} to {rating['max']}"
    if not levels or any(a >= b for a, b in zip(levels, levels[1:])):
        return "rating.levels do not ascend"
    if levels[0] < rating["min"] or levels[-1] > rating["max"]:
        return "rating.levels are not on the rating scale"
    for name, entry in manifest.files.items():
        if {"..", ""} & set(manifest.path(name).split("/")):
            return f"{name} is outside of the dataset, in {entry['path']}"
    if not isinstance(manifest.increments, list) or not all(isinstance(one, dict) for one in manifest.increments):
        return "increments are not a list of objects"
    shards, users = manifest.shards, counts["users"]
    if not whole_numbers(shards):
        return "shards are not whole numbers"
    if len(shards) < 2 or (shards[0], shards[-1]) != (0, users) or any(a > b for a, b in zip(shards, shards[1:])):
        return f"shards do not rise from 0 to {users} users"
    return None
