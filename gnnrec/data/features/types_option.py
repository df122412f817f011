"""The option ``--feature-types age=number,user.zip=category:1,*=drop``."""

from __future__ import annotations

import dataclasses
import difflib
import re

from gnnrec.data.features.node_features import KINDS, NODES, Node
from gnnrec.data.layout import shown, shown_names
from gnnrec.errors import UserError

#: The kind of columns that are not read.
DROP = "drop"
#: A name that stands for all columns without a kind of their own.
OTHERS = "*"
_KIND = re.compile(rf"({'|'.join((*KINDS, DROP))}|category:[1-9]\d*)")


@dataclasses.dataclass
class FeatureTypes:
    """Kinds of columns that an option gives.

    Attributes:
        kinds: ``(node, name)`` -> kind; the node is None where the column may be of users or of movies.
    """

    kinds: dict[tuple[Node | None, str], str]

    @staticmethod
    def parse(option: str | None) -> FeatureTypes:
        """Parses the option.

        Raises:
            UserError: It is malformed, or a kind is unknown.
        """
        kinds: dict[tuple[Node | None, str], str] = {}
        for word in option.split(",") if option else []:
            name, equals, kind = word.strip().rpartition("=")
            if not equals or not name:
                raise UserError(f"--feature-types {word!r}: write COLUMN=KIND, such as age=number,zip=category")
            if not _KIND.fullmatch(kind):
                near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"choose {', '.join(KINDS)} or {DROP}"
                raise UserError(f"--feature-types {word}: the kind {shown(kind)!r} is unknown: {hint}")
            node = next((node for node in NODES if name.startswith(f"{node}.")), None)
            kinds[node, name.removeprefix(f"{node}.")] = kind
        return FeatureTypes(kinds)

    def given(self, node: Node, name: str) -> str | None:
        """The kind that the option gives to a column by its name; None if it gives none."""
        return self.kinds.get((node, name)) or self.kinds.get((None, name))

    def of_others(self, node: Node) -> str | None:
        """The kind that the option gives to columns that it does not name."""
        return self.given(node, OTHERS)

    def check_names(self, names: dict[Node, list[str]]) -> None:
        """Refuses columns that no table has.

        Args:
            names: Names of the columns of all tables.

        Raises:
            UserError: Names the column, and the nearest one.
        """
        for node, name in self.kinds:
            known = [own for of, columns in names.items() if node in (None, of) for own in columns]
            if name != OTHERS and name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                others = f"the columns are {shown_names(known)}" if known else f"pass one with --{node}-features"
                hint = f"did you mean {shown(near[0])}?" if near else others
                of = "" if node is None else f" of {node}s"
                raise UserError(f"--feature-types: no table{of} has a column '{shown(name)}': {hint}")
