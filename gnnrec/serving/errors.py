"""Errors that are answered to a client."""

from __future__ import annotations


class RequestError(Exception):
    """A request that is answered with one sentence.

    Args:
        status: HTTP status, from 400.
        text: The sentence: it names the parameter and the way out.
    """

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status, self.text = status, text


def shortened(value: object) -> str:
    """Returns the text of a value as sentences show it: not more than its beginning."""
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
