"""The token of a service: where it is read, and requests that carry it."""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.utils.stored import read_text

#: Environment variable with the token.
TOKEN = "GNNREC_TOKEN"


def read_token(file: Path | None) -> str | None:
    """Returns the token of a file, or of the environment; None where there is neither.

    Raises:
        UserError: The file cannot be read, or has no token; or the environment variable is empty, as if a token had
            been forgotten.
    """
    if file is not None:
        return checked_token(read_text(file, "pass a file with a token to --token-file"), str(file))
    token = os.environ.get(TOKEN)
    return None if token is None else checked_token(token, TOKEN)


def checked_token(token: str, place: str) -> str:
    """Returns a token without the space around it.

    Args:
        token: The text.
        place: Place of the text, for the message.

    Raises:
        UserError: It is empty, or no header can carry it.
    """
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        unset = ", or unset it" if place == TOKEN else ""
        raise UserError(f"{place} has no token: write one line of ASCII characters{unset}")
    return token


def carries_token(header: str, token: str) -> bool:
    """Returns whether a header ``Authorization`` has a token; it takes as long for all wrong ones.

    Args:
        header: The header, whose bytes were decoded as Latin-1.
        token: The token.
    """
    return hmac.compare_digest(header.encode("latin-1", "replace"), b"Bearer " + token.encode())
