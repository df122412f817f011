"""Downloads a published dataset: resumes partial downloads, verifies checksums, and unpacks atomically."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from gnnrec.data import movielens, unzip
from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.log import logger

URL_VARIABLE = "GNNREC_DATASETS_URL"
_ATTEMPTS = 5  # in a row without a new byte
_BACKOFF = 1.0  # seconds before the second attempt, doubled each time
_TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 18
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


def fetch(name: str, directory: Path, base_url: str | None = None, backoff: float = _BACKOFF) -> Path:
    """Returns the directory of an unpacked dataset and downloads it if it is missing.

    Args:
        name: A name in :data:`gnnrec.data.movielens.ARCHIVES`.
        directory: Parent directory of datasets; the result is ``directory/name``.
        base_url: URL of the directory that holds the zip files (default: the environment variable
            ``GNNREC_DATASETS_URL``, else the dataset's own URL).
        backoff: Seconds before the first retry.

    Raises:
        UserError: Unknown name, no connection, wrong checksum, unsafe or damaged archive.
    """
    archive = movielens.archive(name)
    target = Path(directory).expanduser() / name
    logger.info(archive.credit)
    if (target / archive.members[0]).is_file():
        return target
    url = f"{(base_url or os.environ.get(URL_VARIABLE) or archive.base_url).rstrip('/')}/{name}.zip"
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url} is not a web address: set {URL_VARIABLE} to one that starts with http:// or https://")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        checksum = _checksum(archive, url, backoff)
        part = target.parent / f"{name}.zip.part"
        download(url, part, backoff)
        _verify(part, checksum, url)
        try:
            with files.complete_directory(target, overwrite=True) as temporary:
                unzip.extract(part, archive.folder, archive.members, temporary)
        finally:
            part.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{target} cannot be written ({reason}): choose another --download-dir") from error
    return target


def download(url: str, part: Path, backoff: float = _BACKOFF) -> None:
    """Downloads into ``part``, resuming a partial file, with a progress bar on standard error.

    Args:
        url: The file to download.
        part: The partial file; kept when the download fails, so that the next call resumes it.
        backoff: Seconds before the first retry; doubled after each attempt without new bytes.

    Raises:
        UserError: The server refuses the request, or five attempts in a row receive no new bytes.
    """
    failures = 0
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc=url.rsplit("/", 1)[-1]) as bar:
        while True:
            before = _size(part)
            try:
                if _resume(url, part, bar):
                    return
                reason = "the connection was lost"
            except _BROKEN as error:
                reason = _reason(error, url)
            failures = 0 if _size(part) > before else failures + 1
            if failures >= _ATTEMPTS:
                raise UserError(f"{url} cannot be downloaded ({reason}): {_WAY_OUT}")
            time.sleep(backoff * 2 ** max(0, failures - 1))


_WAY_OUT = "run the command again to resume, or download the file by hand and pass --ratings"


def _resume(url: str, part: Path, bar: tqdm) -> bool:
    """Sends one request for the missing bytes. Returns whether the file is complete."""
    received = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={received}-"} if received else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        if error.headers.get("Content-Range", "").strip() == f"bytes */{received}":
            return True  # already complete
        part.unlink(missing_ok=True)  # longer than the file on the server
        return False
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {received}-")
        if response.status == 206 and not resumed:
            part.unlink(missing_ok=True)
            return False
        received = received if resumed else 0
        length = response.headers.get("Content-Length")
        total = received + int(length) if length else None
        bar.total, bar.n = total, received
        bar.refresh()
        with open(part, "ab" if resumed else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                received += len(block)
                bar.update(len(block))
    return total is None or received == total


def _reason(error: Exception, url: str) -> str:
    """Text of a failure for the error line; raises at once if a retry cannot help."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code < 500 and error.code not in (408, 429):
            raise UserError(f"{url} cannot be downloaded (HTTP {error.code} {error.reason}): {_WAY_OUT}") from None
        return f"HTTP {error.code} {error.reason}"
    return str(getattr(error, "reason", None) or error or type(error).__name__)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _checksum(archive: movielens.Archive, url: str, backoff: float) -> str | None:
    """Returns the MD5 that the server publishes, checked against the archive's; None if neither exists."""
    for attempt in range(_ATTEMPTS):
        try:
            with urllib.request.urlopen(f"{url}.md5", timeout=_TIMEOUT) as response:
                match = re.search(r"\b[0-9a-f]{32}\b", response.read(4096).decode("ascii", "replace").lower())
            break
        except urllib.error.HTTPError as error:
            if error.code == 404:
                match = None
                break
            reason = _reason(error, f"{url}.md5")
        except _BROKEN as error:
            reason = _reason(error, url)
        if attempt == _ATTEMPTS - 1:
            raise UserError(f"{url}.md5 cannot be downloaded ({reason}): {_WAY_OUT}")
        time.sleep(backoff * 2**attempt)
    if match is None:
        return archive.md5
    if archive.md5 and match[0] != archive.md5:
        raise UserError(
            f"{url}.md5 contains {match[0]}, but the published {archive.name}.zip has {archive.md5}: "
            f"check the server named in {URL_VARIABLE}, or download the file by hand and pass --ratings"
        )
    return match[0]


def _verify(part: Path, checksum: str | None, url: str) -> None:
    if checksum is None:
        logger.warning(f"{url}.md5 is not published: only the checksums inside the archive are verified")
        return
    digest = hashlib.md5(usedforsecurity=False)
    with open(part, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != checksum:
        part.unlink()
        raise UserError(
            f"{url} has MD5 {digest.hexdigest()} after the download, expected {checksum}: the damaged file was "
            "deleted, run the command again"
        )
