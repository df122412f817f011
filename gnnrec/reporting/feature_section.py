"""Worth of features: how much errors grow if the rows of a column are shuffled."""

from __future__ import annotations

import pandas as pd

from gnnrec.reporting import charts
from gnnrec.reporting.content import Figure, Section
from gnnrec.reporting.run_records import RunRecords


def feature_section(records: RunRecords) -> Section | None:
    """Draws the growth of the validation RMSE by columns of users and movies; None where it was not measured."""
    worth = records.summary.get("feature_worth") or {}
    figures = []
    for node, columns in worth.items():
        rows = sorted(((name, found["rmse_change"]) for name, found in columns.items()), key=lambda row: -row[1])
        table = pd.DataFrame(rows, columns=["name", "value"])
        spec = charts.bars_across(table, "growth of RMSE", "column", ".4f")
        title, height = f"Columns of {node}s", 80 + 26 * len(rows)
        figures.append(Figure(f"worth_of_{node}_features", title, "", spec, height=height))
    if not figures:
        return None
    text = (
        "How much the RMSE on validation ratings grows if the values of a column belong to other movies or users: the "
        "mean of three shuffles. Columns that say the same share their worth."
    )
    return Section("features", "What features are worth", text, figures)
