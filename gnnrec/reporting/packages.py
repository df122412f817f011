"""Packages that only reports need."""

from __future__ import annotations

from importlib.util import find_spec

from gnnrec.errors import UserError


def require_packages() -> None:
    """Checks that the packages are installed.

    Raises:
        UserError: A package is missing.
    """
    for module, package in (("altair", "altair"), ("vl_convert", "vl-convert-python"), ("jinja2", "Jinja2")):
        if find_spec(module) is None:
            raise UserError(f"{package} is not installed: pip install 'gnnrec[report]'")
