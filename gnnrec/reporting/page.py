"""Renders a page to one self-contained HTML file, and each chart to a PNG."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path
from typing import Any

from gnnrec._version import __version__
from gnnrec.reporting.content import Figure, Page
from gnnrec.reporting.theme import DARK, LIGHT, Colors, vega_config

HTML = "report.html"
#: Widths in CSS pixels of the PNGs of half-width and wide figures; the files have twice as many pixels.
_WIDTHS = (560, 1100)
#: Characters outside of XML 1.0 (section 2.2): most controls, halves of characters, and two that are none.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def write_page(page: Page, directory: Path) -> list[Path]:
    """Writes ``report.html`` and the PNGs into an existing directory.

    Returns:
        Paths of the files, the page first.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gnnrec.reporting", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    text = environment.get_template("page.html").render(
        page=page,
        version=__version__,
        variables={"light": css_variables(LIGHT), "dark": css_variables(DARK)},
        specs={
            figure.name: drawable(figure.spec) | {"width": "container", "height": figure.height}
            for figure in page.figures
        },
        themes={"light": vega_config(LIGHT), "dark": vega_config(DARK)},
        vega=vega_javascript(),
    )
    (directory / HTML).write_text(text, encoding="utf-8")
    return [directory / HTML, *(_write_png(figure, directory) for figure in page.figures)]


@cache
def vega_javascript() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script that defines the global ``vegaEmbed``."""
    import vl_convert

    code = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_vega_lite())
    # The closing tag would end the script element.
    return code.replace("</script", "<\\/script")


def css_variables(colors: Colors) -> str:
    """Formats colors as custom properties: ``--ink: #1b1b1f; ...``."""
    plain = {name: value for name, value in dataclasses.asdict(colors).items() if isinstance(value, str)}
    return " ".join(f"--{name}: {value};" for name, value in (plain | {"accent": colors.series[0]}).items())


def drawable(value: Any) -> Any:
    """Copies a specification with escapes for what XML cannot hold in text of users, such as titles.

    vl-convert draws text as XML, and ends the process where that is not possible.

    Args:
        value: Dictionaries, lists, strings and numbers.
    """
    if isinstance(value, dict):
        return {key: drawable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [drawable(item) for item in value]
    return _NOT_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", value) if isinstance(value, str) else value


def _write_png(figure: Figure, directory: Path) -> Path:
    import vl_convert

    title = {"title": {"text": figure.title, "anchor": "start", "offset": 14}} if figure.title else {}
    spec: dict[str, Any] = drawable(figure.spec) | title | {"width": _WIDTHS[figure.wide], "height": figure.height}
    spec |= {"autosize": {"type": "fit", "contains": "padding"}, "padding": 12}
    image = vl_convert.vegalite_to_png(spec, vl_version=_vega_lite(), config=vega_config(LIGHT), scale=2)
    path = directory / f"{figure.name}.png"
    path.write_bytes(image)
    return path


def _vega_lite() -> str:
    """Returns the version that Altair writes in the format of vl-convert: ``6.4`` for ``v6.4.1``."""
    import altair

    return ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
