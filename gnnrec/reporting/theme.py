"""Light and dark themes of the charts and the page: colors and fonts."""

from __future__ import annotations

import dataclasses
from typing import Any

_FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclasses.dataclass(frozen=True)
class Colors:
    """Colors of one theme.

    Attributes:
        page: Background of the page.
        card: Background of charts and tables.
        ink: Text.
        muted: Less important text. Like ``ink``, it has a contrast of at least 4.5 with ``card`` (WCAG 2, AA).
        line: Borders and grids.
        soft: Bars in the background.
        series: Runs and genres; the first is the color of the model.
    """

    page: str
    card: str
    ink: str
    muted: str
    line: str
    soft: str
    series: tuple[str, ...]


LIGHT = Colors(
    page="#f6f6f4", card="#ffffff", ink="#1b1b1f", muted="#5f6068", line="#e4e4e0", soft="#dcdfe6",
    series=(
        "#2c62d6", "#e0761b", "#1e9a6b", "#c53d74", "#7b57d1", "#a68213", "#1a8fb3", "#d4493f", "#5d8f2a", "#8d6b5f",
    ),
)  # fmt: skip
DARK = Colors(
    page="#0e1014", card="#171a21", ink="#eceef3", muted="#a2a8b6", line="#2a2f3a", soft="#363c4a",
    series=(
        "#7aa5ff", "#ffa45c", "#4fcf9c", "#f27ba8", "#b49bff", "#dcb94a", "#5cc6e8", "#ff8a80", "#a0d468", "#c9a798",
    ),
)  # fmt: skip


def vega_config(colors: Colors) -> dict[str, Any]:
    """Returns the ``config`` of a Vega-Lite chart."""
    text = {"labelFont": _FONT, "titleFont": _FONT, "labelColor": colors.muted, "titleColor": colors.muted}
    return {
        "background": colors.card,
        "font": _FONT,
        "title": {"font": _FONT, "fontSize": 14, "color": colors.ink},
        "view": {"stroke": None},
        "mark": {"color": colors.series[0]},
        "axis": text
        | {
            "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": 500, "titlePadding": 8, "labelPadding": 6,
            "gridColor": colors.line, "domain": False, "ticks": False, "labelOverlap": True, "labelFlush": False,
        },
        "axisX": {"grid": False, "domain": True, "domainColor": colors.line},
        "legend": text
        | {
            "labelFontSize": 12, "labelColor": colors.ink, "title": None, "symbolType": "circle", "symbolSize": 90,
            "labelLimit": 240,
        },
        "text": {"font": _FONT, "fill": colors.ink},
        "line": {"strokeWidth": 2},
        "bar": {"cornerRadiusEnd": 2},
        "range": {"category": list(colors.series), "ramp": {"scheme": "viridis"}, "heatmap": {"scheme": "viridis"}},
        "style": {
            "backdrop": {"color": colors.soft},
            "weak": {"color": colors.muted},
            "reference": {"color": colors.muted, "strokeDash": [5, 4], "strokeWidth": 1.5},
        },
    }  # fmt: skip
