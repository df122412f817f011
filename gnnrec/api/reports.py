"""``gnnrec.report``."""

from __future__ import annotations

from pathlib import Path

from gnnrec.api.python_names import python_errors
from gnnrec.api.session import read_options, session
from gnnrec.api.training import Run, run_directory
from gnnrec.reporting.report import ReportOptions, check_one_process, write_report


@python_errors()
def report(
    run: Run | Path | str | list[Run | Path | str],
    out: Path | str | None = None,
    *,
    users: int = 3,
    overwrite: bool = False,
    data: Path | str | None = None,
    device: str = "auto",
) -> Path:
    """Writes an HTML page about a run, or a comparison of several runs, like ``gnnrec report`` (docs/report.md).

    Args:
        run: A run or a run directory, or a list of them to compare.
        out: Directory to create; by default ``report`` in the run directory. Several runs require it.
        users: Number of users to show recommendations for.
        overwrite: Replace an existing report.
        data: The prepared dataset, if it has moved since training.
        device: ``auto`` (CUDA if available), ``cpu`` or ``cuda``.

    Returns:
        The page, ``report.html``.

    Raises:
        UserError: Bad input, or a missing package.
    """
    runs = [run_directory(one) for one in (run if isinstance(run, list) else [run])]
    values = {"out": out, "users": users, "overwrite": overwrite, "data": data, "device": device}
    options = read_options(ReportOptions, values)
    check_one_process()
    with session(options.device) as world:
        return write_report(runs, options, world)[0]
