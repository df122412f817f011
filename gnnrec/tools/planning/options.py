"""Options of ``gnnrec plan``."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

from gnnrec.errors import UserError
from gnnrec.tools.planning.job import TrainingJob


@dataclasses.dataclass
class PlanOptions:
    """What to plan, on what.

    Args:
        users: Users of the data; 1e9 is fine. By default those of --data.
        movies: Movies. By default those of --data.
        ratings: Training ratings. By default those of --data.
        data: Prepared dataset to take the numbers from that are not given.
        config: Configuration of train_dist.py (a YAML file) to take options of model and loader from.
        set: Options of training over the file, as OPTION=VALUE: model.genres=false.
        gpus: Ranks: one for each GPU, or for each core with --gpu cpu.
        gpu: What a rank runs on: cpu (measured), or a100, h100 or h200 (projected from data sheets).
        dim: Channels. By default --config's, or else 64.
        layers: Layers of message passing. By default --config's, or else 1.
        architecture: Message passing: gat, gcn or sage. By default --config's, or else sage.
        folds: Parts of the ratings, each supervised once an epoch. By default --config's, or else 20.
        seed_users: Users of a step over all ranks; 0 for all. By default --config's, or else 0.
        movies_per_user: Movies drawn for a user; -1 for all. By default --config's, or else -1.
        raters_per_movie: Raters drawn for a movie; -1 for all. By default --config's, or else -1.
        genres: Genres that are features of movies. By default those of --data, or else 20.
        years: Years that ratings span, for effects of time; 0 leaves those out. By default --data's, or else 20.
        precision: Matrix products of GPUs in bf16 or fp32.
        gpus_per_host: Ranks of one host.
        link: What a host sends to others, GB/s as it is reached, not as it is sold.
        latency: Time of one message between hosts, microseconds.
        user_rows: Where tables of users and Adam's moments live: device, or host, fetched for each step.
        memory: Memory of a rank, GB (10^9 bytes). By default that of the GPU; with cpu, a share of this machine's.
        achieved: Share of a data sheet's bandwidths and operations that is reached: the assumption behind all
            projections.
    """

    users: float | None = None
    movies: float | None = None
    ratings: float | None = None
    data: Path | None = None
    config: Path | None = None
    set: list[str] = dataclasses.field(default_factory=list)
    gpus: int = 1
    gpu: Literal["cpu", "a100", "h100", "h200"] = "cpu"
    dim: int | None = None
    layers: int | None = None
    architecture: str | None = None
    folds: int | None = None
    seed_users: float | None = None
    movies_per_user: int | None = None
    raters_per_movie: int | None = None
    genres: int | None = None
    years: float | None = None
    precision: Literal["bf16", "fp32"] = "bf16"
    gpus_per_host: int = 8
    link: float = 50.0
    latency: float = 20.0
    user_rows: Literal["device", "host"] = "device"
    memory: float | None = None
    achieved: float = 0.4

    def check(self) -> None:
        """Checks the values of the options.

        Raises:
            UserError: Names the option and its valid values.
        """
        if self.data is None:
            for name in ("users", "movies", "ratings"):
                if getattr(self, name) is None:
                    raise UserError(f"--{name} is missing: pass it, such as --{name} 1e6, or --data PREPARED")
        for name in ("users", "movies", "ratings"):
            _whole(name, getattr(self, name), 1, 1e15)
        _whole("seed_users", self.seed_users, 0, 1e15)
        bounds = [
            ("gpus", self.gpus >= 1, "at least 1"),
            ("gpus_per_host", self.gpus_per_host >= 1, "at least 1"),
            ("genres", self.genres is None or self.genres >= 0, "0 (none) or more"),
            ("years", self.years is None or 0 <= self.years <= 1000, "0 (no temporal bias) to 1000"),
            ("link", 0 < self.link < math.inf, "above 0"),
            ("latency", 0 <= self.latency < math.inf, "0 or more"),
            ("memory", self.memory is None or 0 < self.memory < math.inf, "above 0"),
            ("achieved", 0 < self.achieved <= 1, "above 0, at most 1"),
        ]
        for name, valid, allowed in bounds:
            if not valid:
                raise UserError(f"--{name} {getattr(self, name)}: must be {allowed}")

    def job(self) -> TrainingJob:
        """Creates the training job.

        Raises:
            UserError: An invalid option, file or dataset.
        """
        from gnnrec.config.train_config import assigned_train_config
        from gnnrec.tools.planning.dataset import job_of_dataset, movie_bins

        self.check()
        overrides = {
            "model.dim": self.dim,
            "model.layers": self.layers,
            "model.architecture": self.architecture,
            "loader.folds": self.folds,
            "loader.seed_users": None if self.seed_users is None else int(self.seed_users),
            "loader.movies_per_user": self.movies_per_user,
            "loader.raters_per_movie": self.raters_per_movie,
        }
        wanted: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
        config = assigned_train_config(
            self.config, self.set, data=self.data or "unused", run_dir="unused", **wanted
        )  # fmt: skip
        if config.objective != "rating":
            raise UserError("--set objective: only the rating objective can be planned")
        model, loader = config.model, config.loader
        if self.data is not None:
            job = job_of_dataset(self.data, model, loader, self.gpus)
        else:
            bins = movie_bins(20 * 31_557_600) if model.time else 0
            job = TrainingJob(1, 1, 1, self.gpus, model, loader, genres=20 if model.genres else 0, movie_bins=bins)
        counts: dict[str, Any] = {
            "users": self.users,
            "movies": self.movies,
            "ratings": self.ratings,
            "genres": self.genres,
        }
        counts = {name: int(value) for name, value in counts.items() if value is not None}
        job = dataclasses.replace(job, **counts)
        if self.years is not None:
            job = dataclasses.replace(job, movie_bins=movie_bins(self.years * 31_557_600) if self.years else 0)
        self._check_job(job)
        return job

    def _check_job(self, job: TrainingJob) -> None:
        pairs = job.users * job.movies
        if job.ratings > pairs:
            nodes = f"{job.users:,} users and {job.movies:,} movies"
            raise UserError(f"--ratings {job.ratings:,}: {nodes} have {pairs:,} pairs: pass fewer ratings")
        if job.ranks > job.users:
            raise UserError(f"--gpus {job.ranks:,}: there are only {job.users:,} users: pass fewer")


def _whole(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not (least <= value <= most and value == int(value)):
        raise UserError(f"--{name} {value:g}: must be a whole number from {least:g} to {most:g}")
