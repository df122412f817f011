"""Tests that share something costly run in one process of pytest-xdist."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("groups")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is one process only")
def test_pytest_xdist_knows_the_groups(request):
    """It keeps them in the ends of names, and would otherwise start one cluster of SLURM in each process."""
    assert request.node.nodeid.endswith("@groups")
