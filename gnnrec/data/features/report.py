"""Reports how tables of features were understood."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.data.features.node_features import FeatureGroup, Node
from gnnrec.data.features.table import FeatureTable
from gnnrec.data.layout import shown
from gnnrec.errors import UserError
from gnnrec.utils.log import logger

#: Columns that are named in a line.
_NAMED = 20


class UnknownFeatureIds(UserError):
    """A table has no id of the dataset."""


@dataclasses.dataclass
class NodeReport:
    """The features of one type of nodes.

    Attributes:
        node: Type of nodes.
        nodes: Number of nodes in the dataset.
        nodes_with_features: Number of those that are in a table.
        schema: Groups of columns of the array.
        dropped: Name -> why the column is left out.
        unknown: Lines about ids that have no ratings.
    """

    node: Node
    nodes: int
    nodes_with_features: int = 0
    schema: tuple[FeatureGroup, ...] = ()
    dropped: dict[str, str] = dataclasses.field(default_factory=dict)
    unknown: list[str] = dataclasses.field(default_factory=list)

    def add_unknown(self, table: FeatureTable, rows: np.ndarray, kept: bool = False) -> None:
        """Counts the ids of a table that are not in the dataset.

        Args:
            table: The table.
            rows: Row of the table of each node, or -1.
            kept: Whether they are kept for exports.

        Raises:
            UnknownFeatureIds: No id is in the dataset.
        """
        is_known = np.zeros(table.num_rows, bool)
        is_known[rows[rows >= 0]] = True
        if is_known.all():
            return
        first = int(np.flatnonzero(~is_known)[0])
        if not is_known.any():
            raise UnknownFeatureIds(
                f"{table.place(first)}: no {table.node} of this file, such as {shown(table.ids[first])}, has ratings: "
                f"check that '{shown(table.id_name)}' is the column of the ids (--{table.node}-column)"
            )
        count = int((~is_known).sum())
        what = "kept for exports" if kept else "left out"
        self.unknown.append(
            f"{table.name}: {count:,} {self.node}s without ratings are {what} (the first: {shown(table.ids[first])})"
        )

    def log(self) -> None:
        """Prints the report."""
        width = sum(group.columns for group in self.schema)
        logger.info(
            f"  features of {self.nodes_with_features:,} of {self.nodes:,} {self.node}s: {width} columns from "
            f"{len(self.schema)}" + (":" if self.schema else "")
        )
        log_names([describe(group) for group in self.schema])
        log_dropped(self.dropped)
        for line in self.unknown:
            logger.info(f"    {line}")


def describe(group: FeatureGroup) -> str:
    """Name, kind and number of columns of a group."""
    details, notes = group.details, []
    if "mean" in details and group.kind == "number":
        notes.append(f"mean {details['mean']:.4g}")
    if "explained" in details:
        notes.append(f"{100 * details['explained']:.0f} % of the variance of {details['length']}")
    if details.get("rare"):
        notes.append("rare ones together")
    if details["missing"]:
        notes.append("a flag for missing values")
    columns = f"{group.columns} column{'s' if group.columns > 1 else ''}"
    return f"{shown(group.name)}: {group.kind}, " + "; ".join([columns, *notes])


def log_names(lines: list[str]) -> None:
    """Prints lines about columns, the first ones of many."""
    for line in lines[:_NAMED]:
        logger.info(f"    {line}")
    if len(lines) > _NAMED:
        logger.info(f"    and {len(lines) - _NAMED:,} more")


def log_dropped(dropped: dict[str, str]) -> None:
    """Prints the columns that are left out."""
    log_names([f"left out: {shown(name)} ({reason})" for name, reason in dropped.items()])
