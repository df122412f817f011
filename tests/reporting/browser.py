"""Headless Chromium of Debian."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

from tests import debian

_NOT_HERE = (
    "Chromium is not installed: apt-get install chromium, or set GNNREC_SKIP_CHROMIUM=1 to leave these tests out"
)
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"),
    *(
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        "--enable-logging=stderr",
        "--virtual-time-budget=30000",
    ),
)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A page after its scripts have run.

    Attributes:
        document: The DOM as HTML.
        console: Messages of the console.
    """

    document: str
    console: list[str]


def install() -> None:
    """Installs Chromium if it is missing, on Debian as root.

    Raises:
        RuntimeError: It cannot be installed.
    """
    if shutil.which("chromium"):
        return
    if not debian.may_install():
        raise RuntimeError(_NOT_HERE)
    debian.install("chromium")


def open_page(path: Path | str, place: Path, dark: bool, width: int = 1280, screenshot: Path | None = None) -> Opened:
    """Opens a page without network access, but for this machine.

    Args:
        path: The HTML file, or an address.
        place: Profile directory of the browser.
        dark: Whether the preferred color scheme is dark.
        width: Width of the window in pixels.
        screenshot: PNG file to write too.
    """
    theme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = ["chromium", *_OPTIONS, theme, f"--user-data-dir={place}", f"--window-size={width},1000", "--dump-dom"]
    address = path if isinstance(path, str) else path.as_uri()
    if screenshot is not None:
        pictured = [*command[:-1], f"--screenshot={screenshot}", address]
        subprocess.run(pictured, capture_output=True, text=True, timeout=120, check=True)
    result = subprocess.run([*command, address], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return Opened(result.stdout, re.findall(r":CONSOLE[^\n]*", result.stderr))
