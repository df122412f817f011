"""Markers, and fixtures that several test folders share.

Markers are registered in ``pyproject.toml``. ``processes`` follows from what a file imports and is applied here; the
folders ``slurm`` and ``end_to_end`` mark their own tests; the other markers are written above the tests.
"""

from __future__ import annotations

import functools
import inspect
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from gnnrec.utils.log import log_to_console
from tests.fake_time import FakeTime

# Tests are many small computations, some of them on several ranks at once: more threads only get into each other's way.
torch.set_num_threads(1)
# As programs do: tests read what a command prints.
log_to_console()

_BESIDE_THE_REPOSITORY = Path(__file__).parents[2] / "shared" / "data" / "ml-latest-small"


def pytest_configure(config: pytest.Config) -> None:
    """Marks of plugins exist without the plugins, and ``pytest -n 2`` keeps groups together without further options."""
    config.addinivalue_line("markers", "xdist_group(name): tests that share something costly run in one process")
    if hasattr(config, "workerinput"):
        config.option.loadgroup = True
    elif config.getoption("dist", "no") in ("load", "loadgroup"):
        config.option.dist = "loadgroup"
        config.option.loadscopereorder = False  # the order is that of _order_for_several_processes


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _starts_processes(getattr(item, "module", None)):
            item.add_marker("processes")
        if item.get_closest_marker("timing"):
            # One after another, and once more if a busy machine got in the way; the summary counts such reruns.
            if not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group("timing"))
            if item.config.pluginmanager.hasplugin("rerunfailures"):
                item.add_marker(pytest.mark.flaky(reruns=1))
    if items and hasattr(items[0].config, "workerinput"):
        _order_for_several_processes(items)


def _order_for_several_processes(items: list[pytest.Item]) -> None:
    """Keeps the tests of a file in one process, which then makes its fixtures once, and begins with the slow groups.

    pytest-xdist hands groups out in the order of their first tests. Long ones come first: groups that tests name, then
    files with slow tests. The quick files at the end keep all processes busy until the last one ends.
    """
    named, ranks = set(), {}
    for item in items:
        marker = item.get_closest_marker("xdist_group")
        if marker:
            named.add(marker.args[0])
        else:
            marker = pytest.mark.xdist_group(f"{item.path.parent.name}/{item.path.name}")
            item.add_marker(marker)
        slow = item.get_closest_marker("slow") is not None
        rank = (not slow, marker.args[0] not in named)
        ranks[marker.args[0]] = min(rank, ranks.get(marker.args[0], rank))
    items.sort(key=lambda item: ranks[item.get_closest_marker("xdist_group").args[0]])


@functools.cache
def _starts_processes(file: ModuleType | None) -> bool:
    """Whether a file of tests imports what starts processes, or a function from a file of helpers that does."""
    starters = (subprocess, multiprocessing)
    for value in vars(file).values() if file else ():
        helper = sys.modules.get(str(getattr(value, "__module__", "")))
        imported = vars(helper).values() if helper and helper.__name__.startswith("tests.") else ()
        if any(module in starters for module in (value, *imported) if inspect.ismodule(module)):
            return True
    return False


@pytest.fixture(autouse=True)
def _leave_as_found() -> Iterator[None]:
    """Undoes what tests, and the programs that they call, change in this process; also when a test fails."""
    dtype, threads, directory = torch.get_default_dtype(), torch.get_num_threads(), Path.cwd()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    variables = dict(os.environ)
    yield
    torch.set_default_dtype(dtype)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    os.chdir(directory)
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    variables.pop("PYTEST_CURRENT_TEST", None)
    for name in os.environ.keys() - variables.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(variables)


@pytest.fixture
def fake_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The clock of gnnrec in this process, which stands still unless something sleeps by it."""
    return FakeTime().install(monkeypatch.setattr)


@pytest.fixture(scope="session")
def ml_latest_small() -> Path:
    """The directory of the real ml-latest-small: ``$GNNREC_ML_LATEST_SMALL``, or shared data beside the repository."""
    path = Path(os.environ.get("GNNREC_ML_LATEST_SMALL", _BESIDE_THE_REPOSITORY))
    if not (path / "ratings.csv").is_file():
        pytest.skip("ml-latest-small is not here: set GNNREC_ML_LATEST_SMALL to its directory")
    return path
