"""Ratings of three days."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.data.growth.days import table_of_days


@pytest.fixture(scope="session")
def days() -> list[pd.DataFrame]:
    """Three tables: ``user``, ``movie``, ``rating``, ``timestamp``."""
    return table_of_days()
