"""Exports that follow an earlier one: vectors that stay comparable, and the rows that changed."""
