"""Interface of what is fitted to a trained model for its lists, and saved beside its weights."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class FittedLists(Protocol):
    """Part of the scores of lists.

    Attributes:
        stem: Name of its file in a checkpoint, without suffix.
    """

    @property
    def stem(self) -> str: ...

    def chosen(self) -> dict[str, float]:
        """Returns settings that validation chose or the options fixed, for the summary."""

    def state(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint."""
