"""``gnnrec update``: new ratings in, a new generation out, in one command that can be resumed.

It appends the ratings to the dataset, continues training, exports vectors that stay comparable with those before, and
writes the rows that changed. Every step is atomic, and what has been done is not done again.
"""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from gnnrec.config.train_config import TrainConfig, read_train_config
from gnnrec.data.growth.append import append
from gnnrec.data.growth.increment import read_increment
from gnnrec.data.locate import locate_all_ratings
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.evaluation.lists import liked_from
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.tools.updating.drift import errors_on_test, on_new_ratings
from gnnrec.tools.updating.generations import Generation, Generations
from gnnrec.tools.updating.options import UpdateOptions
from gnnrec.training.run import train
from gnnrec.utils import files
from gnnrec.utils.bounds import check_bounds
from gnnrec.utils.stored import read_json

#: Most that an update trains: this share of the steps of the first training, for each share of ratings that is new.
_SHARE_BY_NEWS = 7


def update(path: Path, options: UpdateOptions, world: World) -> Path:
    """Makes the next generation.

    Args:
        path: A directory of generations; or a finished rating run, which becomes the first one.
        options: The options.
        world: The ranks; every rank calls this, on a file system that they share.

    Returns:
        The directory of the new generation.

    Raises:
        UserError: Bad input, or a generation that is held back; the current generation stays.
        Stopped: A rank was asked to stop; the same command goes on.
    """
    started = time.perf_counter()
    check_bounds(options)
    if not options.ratings:
        raise UserError("--ratings is missing: pass the file with the new ratings")
    generations = Generations(options.out or path)
    lock = generations.locked()
    world.run_on_rank0(lock.__enter__)
    try:
        before = _current(Path(path), generations, options, world)
        if world.run_on_rank0(lambda: _is_made_of(before, options)):
            world.log(f"{before.path} has these ratings already: nothing left to do")
            return before.path
        made = _make(generations, before, options, world)
    finally:
        if world.is_main:
            lock.__exit__(None, None, None)
    world.log(f"{made.path}: {_describe(made.facts)}; {time.perf_counter() - started:.1f} s")
    return made.path


def _current(path: Path, generations: Generations, options: UpdateOptions, world: World) -> Generation:
    """The generation to continue from; a run becomes the first one, with an export."""
    if world.run_on_rank0(lambda: generations.exists):
        return world.run_on_rank0(generations.current)
    if not (path / "config.yaml").exists():
        raise UserError(
            f"{path} is neither a directory of generations nor a run directory: pass a finished run and --out"
        )
    if options.out is None:
        raise UserError(f"{path} is a run: pass the directory of its generations with --out")
    summary = world.run_on_rank0(lambda: _summary(path))
    config = read_train_config(path / "config.yaml")
    if config.objective == "ranking":
        raise UserError(
            f"{path} is a ranking run, which cannot be updated: append the ratings with prepare and train anew"
        )
    first = generations.begin(path)
    export(path, ExportOptions(first.export, device=options.device), world)
    facts = {
        "data": str(config.data.resolve()),
        "dataset": read_manifest(first.export)["dataset_fingerprint"],
        "first_steps": summary["steps"],
        "first_users": summary["counts"]["users"],
        "training_ratings": summary["counts"]["training_ratings"],
        "interest_fitted_on": summary["counts"]["training_ratings"],
    }

    def publish() -> Generation:
        first.path.mkdir(parents=True, exist_ok=True)
        complete = first.complete(facts)
        generations.publish(complete)
        return complete

    return world.run_on_rank0(publish)


def _is_made_of(current: Generation, options: UpdateOptions) -> bool:
    """Whether the update has ended before: a process may be killed when all is done."""
    return not options.again and "ratings" in current.facts and _are_ratings(current.facts["ratings"], options)


def _are_ratings(noted: list[dict[str, Any]], options: UpdateOptions) -> bool:
    """Whether the files of ``--ratings`` have the contents of those that were noted, under any name."""
    paths = [path for name in options.ratings for path in locate_all_ratings(Path(name), "--ratings")]
    return [files.sha256(path) for path in paths] == [entry["sha256"] for entry in noted]


def _summary(run: Path) -> dict[str, Any]:
    if not (run / "summary.json").exists():
        raise UserError(f"{run} has not finished: resume it with train --resume auto first")
    return read_json(run / "summary.json", "train the run again")


def _make(generations: Generations, before: Generation, options: UpdateOptions, world: World) -> Generation:
    """Appends, trains, exports, and publishes."""
    work: Generation = world.run_on_rank0(generations.next)
    data = Path(before.facts["data"])
    noted = world.run_on_rank0(lambda: _append(work, before, data, options))
    dataset = PreparedDataset(data)
    config = _train_config(
        work, before, dataset, options, world.run_on_rank0(lambda: read_train_config(before.run / "config.yaml"))
    )
    summary = train(config, world)
    formats = read_manifest(before.export).get("formats", ["parquet"])
    export_options = ExportOptions(
        work.export,
        formats=formats,
        parent=before.export,
        tolerance=options.tolerance,
        delta=work.delta,
        device=options.device,
    )
    manifest = export(work.run, export_options, world)

    def finish() -> Generation:
        errors = errors_on_test([before.export, work.export], dataset)
        facts = before.facts | {
            "before": before.path.name,
            "ratings": noted["files"],
            "dataset": dataset.fingerprint,
            "new_ratings": noted["drift"],
            "test_rmse_without_time": {"before": errors[0], "now": errors[1]},
            "steps": summary["steps"],
            "training_ratings": _train_ratings(dataset),
            "interest_fitted_on": before.facts["interest_fitted_on"]
            if config.interest.keep
            else _train_ratings(dataset),
            "changed": {kind: manifest["parent"][kind] for kind in ("users", "movies")},
        }
        held_back = _is_worse(errors, options.hold_back)
        complete = work.complete(facts | {"held_back": held_back})
        if held_back:
            raise UserError(
                f"{work.path} is held back: its test RMSE is {errors[1]:.4f}, that of {before.path.name} "
                f"{errors[0]:.4f} (--hold-back {options.hold_back:g}); {before.path.name} stays the current one"
            )
        generations.publish(complete)
        return complete

    return world.run_on_rank0(finish)


def _append(work: Generation, before: Generation, data: Path, options: UpdateOptions) -> dict[str, Any]:
    """Measures the current generation on the new ratings, then appends them, unless that is done. On rank 0."""
    dataset, noted = PreparedDataset(data), work.begun()
    if dataset.fingerprint == before.facts["dataset"]:
        increment = read_increment(dataset, options.append_options())
        config = read_train_config(before.run / "config.yaml")
        drift = on_new_ratings(before.export, dataset, increment, liked_from(dataset, config.interest))
        noted = work.note(files=increment.sources, drift=drift, dataset_before=dataset.fingerprint)
        append(data, options.append_options())
        return noted
    if noted.get("dataset_before") == before.facts["dataset"]:
        names = [entry["name"] for entry in noted["files"]]
        if not _are_ratings(noted["files"], options):
            raise UserError(
                f"{work.path} is an unfinished update with {', '.join(names)}: finish it with these --ratings first"
            )
        return noted
    raise UserError(
        f"{data} has changed since {before.path} was made, but not by gnnrec update: train on it, and begin anew"
    )


def _train_config(
    work: Generation, before: Generation, dataset: PreparedDataset, options: UpdateOptions, config: TrainConfig
) -> TrainConfig:
    """The configuration of the next run: that of the one before, with a share of the first run's steps."""
    # A step supervises a fold of all ratings, or of those of some users.
    seeds = config.loader.seed_users or max(dataset.num_users, before.facts["first_users"])
    growth = math.ceil(dataset.num_users / seeds) / math.ceil(before.facts["first_users"] / seeds)
    news = 1 - before.facts.get("training_ratings", 0) / _train_ratings(dataset)
    share = min(options.share, _SHARE_BY_NEWS * news)
    steps = max(1, round(share * before.facts["first_steps"] * growth))
    fitted_on = before.facts["interest_fitted_on"]
    keep = _train_ratings(dataset) - fitted_on < options.fit_interest_after * fitted_on
    # Another number of factors would give vectors of another length.
    first, end = read_manifest(before.export).get("interest", {"columns": [0, config.interest.num_factors]})["columns"]
    return dataclasses.replace(
        config,
        data=dataset.directory,
        run_dir=work.run,
        init_from=before.run,
        optimizer=dataclasses.replace(config.optimizer, lr=options.lr, warmup_steps=0),
        interest=dataclasses.replace(config.interest, keep=keep, num_factors=end - first),
        max_steps=steps,
        baselines=False,
        resume="auto",
        overwrite=False,
        device=options.device,
    )


def _train_ratings(dataset: PreparedDataset) -> int:
    return dataset.manifest.split["counts"]["train"]


def _is_worse(errors: list[float | None], margin: float | None) -> bool:
    before, now = errors
    return margin is not None and before is not None and now is not None and now - before > margin


def _describe(facts: dict[str, Any]) -> str:
    """One line about a generation."""
    new, errors = facts["new_ratings"], facts["test_rmse_without_time"]
    parts = []
    if "rmse" in new:
        known = f"{new['ratings']:,} new ratings of known users and movies"
        parts.append(f"{known} had RMSE {new['rmse']:.4f} before training")
    if errors["now"] is not None:
        parts.append(f"test RMSE {errors['before']:.4f} -> {errors['now']:.4f}")
    for kind, rows in facts["changed"].items():
        changed = rows["changed"] + rows["new"]
        parts.append(f"{changed:,} of {changed + rows['same']:,} {kind} changed")
    return ", ".join(parts)
