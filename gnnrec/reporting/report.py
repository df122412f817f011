"""``gnnrec report``: a page about one run, or a comparison of several."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Literal

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.reporting.comparison import comparison_page
from gnnrec.reporting.content import Page, Section
from gnnrec.reporting.examples import recommendations, similar_movies
from gnnrec.reporting.feature_section import feature_section
from gnnrec.reporting.head import facts, notices, subtitle, tiles
from gnnrec.reporting.leakage_section import leakage_section
from gnnrec.reporting.list_results import list_results
from gnnrec.reporting.movie_map import movie_map
from gnnrec.reporting.opened_run import OpenedRun, open_run
from gnnrec.reporting.packages import require_packages
from gnnrec.reporting.page import HTML, write_page
from gnnrec.reporting.ranking_errors import ranking_errors
from gnnrec.reporting.rating_errors import rating_errors
from gnnrec.reporting.run_records import RunRecords, distinct_names, read_run
from gnnrec.reporting.training_sections import configuration, curves, partition_section, results, time_section
from gnnrec.utils import files
from gnnrec.utils.bounds import bounded, check_bounds
from gnnrec.utils.log import print_line


@dataclasses.dataclass
class ReportOptions:
    """Options of ``gnnrec report``.

    Args:
        out: Directory to make; by default report in the run directory, for one run.
        overwrite: Replace the report if it exists.
        data: Prepared dataset, if it has moved since training; by default the one that is recorded.
        device: Device of every rank; auto is CUDA if available, else the CPU.
        users: Users to show recommendations for.
    """

    out: Path | None = None
    overwrite: bool = False
    data: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    users: int = bounded(3, least=0)


def run_report(runs: list[Path], options: ReportOptions) -> None:
    """Runs the command.

    Args:
        runs: One run directory to report, or several to compare.
        options: The options.

    Raises:
        UserError: Bad input.
    """
    from gnnrec.distributed import process_group

    check_one_process()
    process_group.share_cores()
    with process_group.process_group(options.device) as world:
        written = write_report(runs, options, world)
    print_line(f"{written[0]} and {len(written) - 1} charts")


def check_one_process() -> None:
    """Raises a UserError under torchrun with several ranks."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("gnnrec report runs in one process: start it without torchrun")


def write_report(runs: list[Path], options: ReportOptions, world: World) -> list[Path]:
    """Writes the page and its charts.

    Args:
        runs: Run directories.
        options: The options.
        world: One rank.

    Returns:
        Paths of the files, ``report.html`` first.

    Raises:
        UserError: Bad input, or a missing package.
        Stopped: The process was asked to stop; nothing was written.
    """
    check_bounds(options)
    if len(runs) > 1 and options.out is None:
        raise UserError("several runs need --out, the directory to create")
    out = options.out or runs[0] / "report"
    require_packages()
    records = [read_run(run, name) for run, name in zip(runs, distinct_names(runs))]
    files.check_replaceable(out, options.overwrite, HTML)  # before the computation
    page = comparison_page(records) if len(runs) > 1 else run_page(records[0], options, world)
    with files.complete_directory(out, options.overwrite, HTML) as aside:
        written = write_page(page, aside)
        world.check_stop()
    return [out / path.name for path in written]


def run_page(records: RunRecords, options: ReportOptions, world: World) -> Page:
    """Creates the page about one run."""
    opened = open_run(records, world, options.data)
    world.check_stop()
    sections: list[Section | None] = [
        results(records),
        list_results(records),
        feature_section(records),
        curves([records]),
    ]
    sections += _model_sections(opened, options.users) if opened and not opened.diverged else []
    dataset = opened.loaded.dataset if opened else None
    world.check_stop()
    audited = leakage_section(dataset) if records.config.refit != "all" else None
    sections += [audited, partition_section(records, dataset), time_section(records), configuration(records)]
    return Page(
        title=records.name,
        subtitle=subtitle(records),
        facts=facts(records),
        tiles=tiles(records),
        notices=notices(records, opened),
        sections=[section for section in sections if section is not None],
    )


def _model_sections(run: OpenedRun, users: int) -> list[Section | None]:
    """Returns the sections that need the model."""
    sections: list[Section | None] = []
    if run.split is not None:
        sections += ranking_errors(run) if run.records.ranking else rating_errors(run)
    source = run.source
    sections.append(movie_map(source.catalog, source.scoring.own().movies))
    return [*sections, recommendations(source, users), similar_movies(source)]
