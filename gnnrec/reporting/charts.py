"""The shapes of charts: from tables of numbers to Vega-Lite, without size and colours (:mod:`gnnrec.reporting.theme`).

Altair is imported by the functions: only reports need it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

#: Points of a line, at most: more cannot be seen.
_POINTS = 500


def lines(table: pd.DataFrame, y: str, digits: str = ".4f", log: bool = False, zero: bool = False) -> dict[str, Any]:
    """Lines over optimizer steps, with points where they are few.

    Args:
        table: Columns ``step``, ``value`` and ``series``; the series are coloured in the order in which they come.
        y: What the values are.
        digits: Format of a value in its tooltip.
        log: Logarithmic values.
        zero: Begin the axis of values at zero.
    """
    import altair as alt

    order = list(dict.fromkeys(table["series"]))
    table = pd.concat([_thinned(rows) for _, rows in table.groupby("series", sort=False)])
    few = len(table) <= 60 * len(order)
    scale = alt.Scale(type="log") if log else alt.Scale(zero=zero, nice=True)
    chart = (
        alt.Chart(table)
        .mark_line(point=alt.OverlayMarkDef(size=28) if few else False)
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(format="~s", tickMinStep=1)),
            y=alt.Y("value:Q", title=y, scale=scale),
            color=_series(order),
            tooltip=[
                *([alt.Tooltip("series:N", title=" ")] if len(order) > 1 else []),
                alt.Tooltip("step:Q", format=","),
                alt.Tooltip("value:Q", title=y, format=digits),
            ],
        )
    )
    return finished(chart)


def lines_over_counts(
    table: pd.DataFrame, counts: pd.DataFrame, x: str, y: str, count: str, digits: str = ".4f"
) -> dict[str, Any]:
    """Lines over buckets, and behind them bars that say how much is in each bucket.

    Args:
        table: Columns ``bucket`` (text), ``value`` and ``series``.
        counts: Columns ``bucket`` and ``count``, in the order of the axis.
        x: What the buckets are.
        y: What the values are.
        count: What is counted.
        digits: Format of a value in its tooltip.
    """
    import altair as alt

    across = alt.X("bucket:N", title=x, sort=list(counts["bucket"]), axis=alt.Axis(labelAngle=0))
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
    return finished(alt.layer(bars, values).resolve_scale(y="independent"))


def calibration(table: pd.DataFrame, scale: tuple[float, float]) -> dict[str, Any]:
    """Mean rating over predicted rating, the diagonal where they are equal, and behind them the number of ratings.

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
    return finished(alt.layer(bars, diagonal + points).resolve_scale(y="independent"))


def bars_across(table: pd.DataFrame, x: str, y: str, digits: str = ".2f") -> dict[str, Any]:
    """Horizontal bars with their values at their ends.

    Args:
        table: Columns ``name`` and ``value``, from top to bottom; where there is ``strong`` (bool), those bars stand
            out.
        x: What the values are.
        y: What the names are.
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
        return finished(base.mark_bar(height={"band": 0.7}) + label)
    weak = base.transform_filter("!datum.strong").mark_bar(height={"band": 0.7}, style="backdrop")
    strong = base.transform_filter("datum.strong").mark_bar(height={"band": 0.7})
    return finished(weak + strong + label)


def bars_in_a_row(table: pd.DataFrame, x: str, y: str) -> dict[str, Any]:
    """Many thin bars, coloured by series where there are several.

    Args:
        table: Columns ``number`` (from 0), ``value`` and ``series``.
        x: What is numbered.
        y: What the values are.
    """
    import altair as alt

    order = list(dict.fromkeys(table["series"]))
    table = table.assign(end=table["number"] + 0.9)
    chart = (
        alt.Chart(table)
        .mark_rect()  # bars with two ends across would be lines
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
    return finished(chart)


def _series(order: list[str]) -> Any:
    import altair as alt

    legend = None if len(order) < 2 else alt.Legend(orient="top", symbolType="circle")
    return alt.Color("series:N", scale=alt.Scale(domain=order), legend=legend)


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """A part of many rows, evenly, with the first and the last."""
    if len(rows) <= _POINTS:
        return rows
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, _POINTS).round().astype(int))]


def finished(chart: Any) -> dict[str, Any]:
    """Vega-Lite as a dictionary; colours and letters come with the page."""
    spec = chart.to_dict()
    spec.pop("config", None)
    return spec
