"""Charts as Vega-Lite specifications, without size and colors (:mod:`gnnrec.reporting.theme`).

The functions import Altair, since only reports need it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

#: Maximum number of points of a line; more would not be visible.
_POINTS = 500


def lines(
    table: pd.DataFrame, y: str, digits: str = ".4f", zero: bool = False, total: str | None = None
) -> dict[str, Any]:
    """Lines over optimizer steps, with points if there are few.

    Args:
        table: Columns ``step``, ``value`` and ``series``; colors follow the order of the series.
        y: Name of the values.
        digits: Format of a value in its tooltip.
        zero: Start the axis of values at zero.
        total: Series that is the sum of the others; its line is gray and dashed, and not in the legend.
    """
    import altair as alt

    several = table["series"].nunique() > 1
    table = pd.concat([_thinned(rows) for _, rows in table.groupby("series", sort=False)])
    encoding = {
        "x": alt.X("step:Q", title="step", axis=alt.Axis(format="~s", tickMinStep=1)),
        "y": alt.Y("value:Q", title=y, scale=alt.Scale(zero=zero, nice=True)),
        "tooltip": [
            *([alt.Tooltip("series:N", title=" ")] if several else []),
            alt.Tooltip("step:Q", format=","),
            alt.Tooltip("value:Q", title=y, format=digits),
        ],
    }
    parts = table[table["series"] != total]
    order = list(dict.fromkeys(parts["series"]))
    few = len(parts) <= 60 * len(order)
    mark = alt.Chart(parts).mark_line(point=alt.OverlayMarkDef(size=28) if few else False)
    chart = mark.encode(color=_series(order), **encoding)
    if len(parts) < len(table):
        chart += alt.Chart(table[table["series"] == total]).mark_line(style="reference").encode(**encoding)
    return to_spec(chart)


def lines_over_counts(
    table: pd.DataFrame, counts: pd.DataFrame, x: str, y: str, count: str, digits: str = ".4f"
) -> dict[str, Any]:
    """Lines over buckets, in front of bars with the count in each bucket.

    Args:
        table: Columns ``bucket`` (text), ``value`` and ``series``.
        counts: Columns ``bucket`` and ``count``, in the order of the axis.
        x: Name of the buckets.
        y: Name of the values.
        count: Name of the counts.
        digits: Format of a value in its tooltip.
    """
    import altair as alt

    # Every bucket has its label, slanted where there are too many to stand side by side.
    axis = alt.Axis(labelAngle=0 if len(counts) <= 8 else -40, labelOverlap=False)
    across = alt.X("bucket:N", title=x, sort=list(counts["bucket"]), axis=axis)
    bars = (
        alt.Chart(counts)
        .mark_bar(style="backdrop")
        .encode(
            x=across,
            y=alt.Y("count:Q", title=count, axis=alt.Axis(orient="right", grid=False, format="~s", tickCount=4)),
            tooltip=[alt.Tooltip("bucket:N", title=x), alt.Tooltip("count:Q", title=count, format=",")],
        )
    )
    order = list(dict.fromkeys(table["series"]))
    values = (
        alt.Chart(table)
        .mark_line(point=alt.OverlayMarkDef(size=45))
        .encode(
            x=across,
            y=alt.Y("value:Q", title=y, scale=alt.Scale(zero=False), axis=alt.Axis(orient="left")),
            color=_series(order),
            tooltip=[
                alt.Tooltip("series:N", title=" "),
                alt.Tooltip("bucket:N", title=x),
                alt.Tooltip("value:Q", title=y, format=digits),
            ],
        )
    )
    return to_spec(alt.layer(bars, values).resolve_scale(y="independent"))


def calibration(table: pd.DataFrame, scale: tuple[float, float]) -> dict[str, Any]:
    """Mean rating over predicted rating, the diagonal of equality, and bars with the number of ratings.

    Args:
        table: Columns ``low``, ``high`` (of the predictions), ``predicted``, ``observed`` (means) and ``count``.
        scale: Lowest and highest rating.
    """
    import altair as alt

    domain = alt.Scale(domain=list(scale), nice=False)
    tooltip = [
        alt.Tooltip("predicted:Q", title="mean prediction", format=".3f"),
        alt.Tooltip("observed:Q", title="mean rating", format=".3f"),
        alt.Tooltip("count:Q", title="ratings", format=","),
    ]
    bars = (
        alt.Chart(table)
        .mark_rect(style="backdrop")
        .encode(
            x=alt.X("low:Q", scale=domain),
            x2="high:Q",
            y2=alt.datum(0),
            y=alt.Y("count:Q", title="held-out ratings", axis=alt.Axis(orient="right", grid=False, format="~s")),
            tooltip=tooltip,
        )
    )
    ends = pd.DataFrame({"predicted": scale, "observed": scale})
    across = alt.X("predicted:Q", title="predicted rating", scale=domain)
    up = alt.Y("observed:Q", title="mean rating given", scale=domain, axis=alt.Axis(orient="left"))
    diagonal = alt.Chart(ends).mark_line(style="reference").encode(x=across, y=up)
    points = alt.Chart(table).mark_line(point=alt.OverlayMarkDef(size=55)).encode(x=across, y=up, tooltip=tooltip)
    return to_spec(alt.layer(bars, diagonal + points).resolve_scale(y="independent"))


def bars_across(table: pd.DataFrame, x: str, y: str, digits: str = ".2f") -> dict[str, Any]:
    """Horizontal bars with their values at the ends.

    Args:
        table: Columns ``name`` and ``value``, from top to bottom, and optionally ``strong`` (bool), else gray.
        x: Name of the values.
        y: Name of the names.
        digits: Format of a value.
    """
    import altair as alt

    base = alt.Chart(table).encode(
        x=alt.X("value:Q", title=x, axis=alt.Axis(grid=True, tickCount=6)),
        y=alt.Y("name:N", title=None, sort=list(table["name"]), axis=alt.Axis(labelLimit=260)),
        tooltip=[alt.Tooltip("name:N", title=y), alt.Tooltip("value:Q", title=x, format=digits)],
    )
    label = base.mark_text(align="left", dx=6).encode(text=alt.Text("value:Q", format=digits))
    if "strong" not in table:
        return to_spec(base.mark_bar(height={"band": 0.7}) + label)
    weak = base.transform_filter("!datum.strong").mark_bar(height={"band": 0.7}, style="backdrop")
    strong = base.transform_filter("datum.strong").mark_bar(height={"band": 0.7})
    return to_spec(weak + strong + label)


def points_across(table: pd.DataFrame, x: str, y: str, digits: str = ".4f") -> dict[str, Any]:
    """Points on a horizontal axis near the values, which need not start at zero.

    Args:
        table: Columns ``name``, ``value`` and ``strong`` (bool), from top to bottom; other points are gray.
        x: Name of the values.
        y: Name of the names.
        digits: Format of a value.
    """
    import altair as alt

    base = alt.Chart(table).encode(
        x=alt.X("value:Q", title=x, scale=alt.Scale(zero=False, padding=40), axis=alt.Axis(grid=True, tickCount=6)),
        y=alt.Y("name:N", title=None, sort=list(table["name"]), axis=alt.Axis(labelLimit=260, grid=True)),
        tooltip=[alt.Tooltip("name:N", title=y), alt.Tooltip("value:Q", title=x, format=digits)],
    )
    label = base.mark_text(dy=-12).encode(text=alt.Text("value:Q", format=digits))
    weak = base.transform_filter("!datum.strong").mark_circle(size=130, opacity=1, style="weak")
    strong = base.transform_filter("datum.strong").mark_circle(size=170, opacity=1)
    return to_spec(weak + strong + label)


def bars_in_a_row(table: pd.DataFrame, x: str, y: str) -> dict[str, Any]:
    """Many thin bars, colored by series if there are several.

    Args:
        table: Columns ``number`` (from 0), ``value`` and ``series``.
        x: Name of the numbers.
        y: Name of the values.
    """
    import altair as alt

    order = list(dict.fromkeys(table["series"]))
    table = table.assign(end=table["number"] + 0.9)
    chart = (
        alt.Chart(table)
        .mark_rect()  # Vega-Lite draws bars with both ends on x as lines
        .encode(
            x=alt.X("number:Q", title=x, axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(nice=False)),
            x2="end:Q",
            y=alt.Y("value:Q", title=y, axis=alt.Axis(format="~s")),
            y2=alt.datum(0),
            color=_series(order),
            tooltip=[
                *([alt.Tooltip("series:N", title=" ")] if len(order) > 1 else []),
                alt.Tooltip("number:Q", title=x),
                alt.Tooltip("value:Q", title=y, format=","),
            ],
        )
    )
    return to_spec(chart)


def _series(order: list[str]) -> Any:
    import altair as alt

    legend = None if len(order) < 2 else alt.Legend(orient="top", symbolType="circle")
    return alt.Color("series:N", scale=alt.Scale(domain=order), legend=legend)


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """Samples rows evenly, with the first and the last."""
    if len(rows) <= _POINTS:
        return rows
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, _POINTS).round().astype(int))]


def to_spec(chart: Any) -> dict[str, Any]:
    """Converts a chart to Vega-Lite; the page adds colors and fonts."""
    spec = chart.to_dict()
    spec.pop("config", None)
    return spec
