"""``gnnrec compare``: trains several models with several seeds, and tabulates the results."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shlex
import shutil
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from gnnrec.config.train_config import TrainConfig, assigned_train_config
from gnnrec.config.training_options import WandbOptions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.evaluation.bootstrap import paired_differences
from gnnrec.evaluation.user_sums import UserSums
from gnnrec.tools.comparison import launch, table
from gnnrec.tools.comparison.fit import FitJob, sums_path
from gnnrec.tools.comparison.models import GNNS, choose
from gnnrec.tools.comparison.output import WAY_OUT, open_output
from gnnrec.training.tracking.tracker import Tracker
from gnnrec.utils import files
from gnnrec.utils.bounds import bounded, check_bounds
from gnnrec.utils.log import logger
from gnnrec.utils.stored import read_json


@dataclasses.dataclass
class CompareOptions:
    """Options of ``gnnrec compare``.

    Args:
        out: Directory to make, for comparison.json, comparison.csv, comparison.md, and every fit.
        models: Models to compare; by default all for the data's protocol (ratings: global mean, biases, biased MF,
            SVD++, item AutoRec, gat, gcn, sage; rankings: popularity, recent popularity,
            item kNN, EASE, implicit ALS, gnn; with features of movies also biases and kNN, biases and ridge; category
            popularity, feature kNN, feature ridge).
        seeds: Fits of each model, with seeds from 0 on.
        config: YAML file of training options for the GNNs; by default none.
        set: Training options over those of the file, as OPTION=VALUE. Baselines use only refit.
        label: Name of the row, if one model is compared; by default that of the model.
        intervals: Model of the comparison from which the differences of all others are computed, with 95 % confidence
            intervals (paired bootstrap over users); by default none.
        resume: Continue an interrupted comparison, or add models and seeds to it; no fit is repeated.
        overwrite: Replace the comparison in the output directory.
        wandb: Weights & Biases, for the table.
    """

    out: Path
    models: list[str] = dataclasses.field(default_factory=list)
    seeds: int = bounded(3, least=1)
    config: Path | None = None
    set: list[str] = dataclasses.field(default_factory=list)
    label: str = ""
    intervals: str = ""
    resume: bool = False
    overwrite: bool = False
    wandb: WandbOptions = dataclasses.field(default_factory=lambda: WandbOptions(mode="disabled"))


def compare(data: Path, options: CompareOptions, world: World) -> list[dict]:
    """Fits each model with each seed in a separate process, and writes the table to ``options.out``.

    Args:
        data: Prepared dataset.
        options: The options.
        world: The ranks; every rank calls this, and every fit has the same number of ranks.

    Returns:
        The rows of ``comparison.json``.

    Raises:
        UserError: Bad input, or a failed fit.
    """
    dataset = PreparedDataset(data)
    objective, models = world.run_on_rank0(lambda: choose(options.models, dataset))
    fits = fit_all(data, options, objective, models, world)
    return world.run_on_rank0(lambda: _finish(dataset, options, models, fits, world))


def fit_all(
    data: Path, options: CompareOptions, objective: str, models: list[str], world: World
) -> dict[str, list[dict]]:
    """Returns all fits by model; fits that exist in ``options.out`` are read."""
    seeds = range(options.seeds)
    with contextlib.ExitStack() as stack:

        def lock() -> None:
            stack.enter_context(_prepare(data, options, objective, models, world))

        world.run_on_rank0(lock)
        for model in models:
            for seed in seeds:
                result = _result(options.out, model, seed)
                if not world.run_on_rank0(functools.partial(_is_done, result, options)):
                    _fit(data, options, objective, model, seed, world)
    return world.run_on_rank0(
        lambda: {model: [_read(_result(options.out, model, seed)) for seed in seeds] for model in models}
    )


def _fit(data: Path, options: CompareOptions, objective: str, model: str, seed: int, world: World) -> None:
    running, result = options.out / "running", _result(options.out, model, seed)

    def clear() -> None:
        shutil.rmtree(running, ignore_errors=True)
        running.mkdir()

    world.run_on_rank0(clear)
    config = None if options.config is None else str(options.config)
    place = str(running / "run"), str(result), bool(options.intervals)
    job = FitJob(str(data), objective, model, seed, config, options.set, *place)
    launch.run(job, running, world)
    if world.is_main:
        shutil.rmtree(running)
        fit = _read(result)
        figures = "  ".join(f"{name} {value:.4f}" for name, value in fit["metrics"].items() if value is not None)
        setting = "".join(f"  {name} {value}" for name, value in fit["setting"].items())
        logger.info(
            f"{model}, seed {seed}:  {figures}  {fit['seconds']:.1f} s  {fit['peak_memory_gib']:.2f} GiB{setting}"
        )


def _result(out: Path, model: str, seed: int) -> Path:
    return out / "fits" / f"{quote(model, safe=' ').replace(' ', '_')}-{seed}.json"


def _is_done(result: Path, options: CompareOptions) -> bool:
    """Whether a fit need not be made: it exists, with the sums of single users where they are asked for."""
    return result.exists() and (not options.intervals or sums_path(result).exists())


def _read(path: Path) -> dict:
    return read_json(path, WAY_OUT)


def _prepare(data: Path, options: CompareOptions, objective: str, models: list[str], world: World) -> TextIO:
    """Checks the options, and makes the directory or checks the one to resume; returns its lock."""
    out = options.out
    check_bounds(options)
    if options.label and len(models) > 1:
        raise UserError(f"--label {options.label}: pass exactly one model with --models")
    if options.resume and options.overwrite:
        raise UserError("--resume and --overwrite exclude each other: choose one")
    if options.intervals and (options.intervals not in models or len(models) < 2):
        raise UserError(f"--intervals {options.intervals}: must be one of several models of --models")
    config = assigned_train_config(options.config, options.set, data=data, run_dir=out / "run", objective=objective)
    if config.refit == "all":
        raise UserError("gnnrec compare measures models on test ratings: leave out --refit all")
    request = {
        "dataset": PreparedDataset(data).fingerprint,
        "configuration": _shared(config),
        "number of ranks": world.size,
    }
    return open_output(out, request, options.resume, options.overwrite)


def _shared(config: TrainConfig) -> dict:
    """Returns the options that all fits share, as plain JSON values."""
    own = ("data", "run_dir", "seed", "wandb", "overwrite", "baselines", "log_every")
    return json.loads(json.dumps({name: value for name, value in config.as_dict().items() if name not in own}))


def _finish(
    dataset: PreparedDataset, options: CompareOptions, models: list[str], fits: dict[str, list[dict]], world: World
) -> list[dict]:
    """Writes and prints the table on rank 0."""
    rows = [
        table.row(
            fits[model],
            data=dataset.directory.resolve().name,
            protocol=dataset.manifest.split["protocol"],
            model=options.label or model,
        )
        | {"command": command(dataset.directory, options, model, world.size)}
        for model in models
    ]
    differences = _differences(options, models, rows)
    for name, text in (("csv", table.as_csv(rows)), ("md", table.as_markdown(rows) + differences)):
        files.write_text(options.out / f"comparison.{name}", text)
    files.write_text(options.out / "comparison.json", json.dumps(rows, indent=1) + "\n")
    shown = [table.as_text(rows), table.note(rows), *([differences] if differences else [])]
    print(*shown, options.out / "comparison.json", sep="\n", flush=True)
    if options.wandb.mode != "disabled":
        tracker = Tracker(options.out, options.wandb, {"data": str(dataset.directory)}, active=True)
        head, *body = table.cells(rows)
        tracker.table("comparison", head, body)
        tracker.close()
    return rows


def _differences(options: CompareOptions, models: list[str], rows: list[dict]) -> str:
    """Adds the differences from the model of ``--intervals`` to the rows of all others; returns a Markdown table."""
    if not options.intervals:
        return ""
    sums = {
        model: [UserSums.read(sums_path(_result(options.out, model, seed))) for seed in range(options.seeds)]
        for model in models
    }
    if not len(sums[options.intervals][0].user):
        return ""
    for model, row in zip(models, rows):
        if model != options.intervals:
            row["differences"] = {
                name: {"from": options.intervals, "value": found.value, "low": found.low, "high": found.high}
                for name, found in paired_differences(sums[model], sums[options.intervals]).items()
            }
    return table.differences_as_markdown(rows, options.intervals)


def command(data: Path, options: CompareOptions, model: str, ranks: int) -> str:
    """Returns the command that reproduces one row, with ``PATH`` for absolute paths."""
    words = ["gnnrec", "compare", _masked(data), "--models", model, "--seeds", str(options.seeds)]
    if options.config is not None and model in {name for names in GNNS.values() for name in names}:
        words += ["--config", _masked(options.config)]
    for assignment in options.set:
        words += ["--set", assignment]
    if options.label:
        words += ["--label", options.label]
    torchrun = ["torchrun", "--standalone", "--nproc-per-node", str(ranks), "-m"] if ranks > 1 else []
    return shlex.join([*torchrun, *words, "--out", "PATH"])


def _masked(path: Path) -> str:
    return "PATH" if path.is_absolute() else str(path)
