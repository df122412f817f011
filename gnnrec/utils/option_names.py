"""Spelling of option names."""

from __future__ import annotations


def dashed(name: str) -> str:
    """Spells an option as it is typed: ``loader.seed_users`` is ``--loader.seed-users``."""
    return "--" + name.replace("_", "-")
