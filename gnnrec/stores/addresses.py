"""Addresses of stores in messages, without the passwords in them."""

from __future__ import annotations

import re

#: A password before the host, or as libpq takes it in an address.
_SECRET = re.compile(r"(?<=://)(?P<user>[^:/@?]*):(?P<before>[^?#]*)@|(?P<option>[?&]password=)(?P<after>[^&#]*)")


def shown(address: str) -> str:
    """Returns an address without its password."""
    return _SECRET.sub(lambda found: f"{found['option']}***" if found["option"] else f"{found['user']}:***@", address)


def without_secrets(text: str, address: str) -> str:
    """Returns a text without the passwords of an address."""
    for found in _SECRET.finditer(address):
        secret = found["before"] or found["after"] or ""
        # Of a password with one of these signs, which have to be escaped, libraries take a part for the host or port.
        for part in (secret, *(part for part in re.split("[@/:]", secret) if len(part) > 2)):
            text = text.replace(part, "***") if part else text
    return text
