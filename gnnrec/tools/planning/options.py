"""Options of ``gnnrec plan``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from gnnrec.errors import UserError
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.utils.bounds import bounded, check_bounds
from gnnrec.utils.option_names import dashed


@dataclasses.dataclass
class PlanOptions:
    """Options of ``gnnrec plan``.

    Args:
        users: Users of the data, such as 1e9; by default those of --data.
        movies: Movies of the data; by default those of --data.
        ratings: Training ratings; by default those of --data.
        data: Prepared dataset, for numbers that are not given; by default none.
        config: YAML file of training options, for those of model, loader and interest; by default none.
        set: Training options over those of the file, as OPTION=VALUE: model.genres=false.
        gpus: Ranks: one for each GPU, or with --gpu cpu for each core.
        gpu: Device of a rank: cpu (measured), or a100, h100 or h200 (projected from data sheets).
        dim: Channels of embeddings and layers; by default those of --config, else 64.
        layers: Layers of message passing; by default those of --config, else 1.
        architecture: Layer of message passing; by default that of --config, else sage.
        folds: Parts of the ratings, each supervised once an epoch; by default those of --config, else 20.
        seed_users: Users of a step over all ranks, 0 for all; by default those of --config, else 0.
        movies_per_user: Movies sampled for each user, -1 for all; by default those of --config, else -1.
        raters_per_movie: Raters sampled for each movie, -1 for all; by default those of --config, else -1.
        genres: Genres that are features of movies; by default those of --data, else 20.
        years: Years that ratings span, for temporal bias; by default those of --data, else 20.
        precision: Precision of matrix products on GPUs.
        gpus_per_host: Ranks of a host.
        link: Bandwidth between hosts as measured, in GB/s.
        latency: Time of a message between hosts, in microseconds.
        user_rows: Place of user tables and Adam's moments: device, or host (fetched for each step).
        memory: Memory of a rank in GB (10^9 bytes); by default that of the GPU, or a share of this machine's with cpu.
        achieved: Share of a data sheet's bandwidths and operations that is achieved, which all projections assume.
    """

    users: float | None = bounded(None, least=1, most=1e15)
    movies: float | None = bounded(None, least=1, most=1e15)
    ratings: float | None = bounded(None, least=1, most=1e15)
    data: Path | None = None
    config: Path | None = None
    set: list[str] = dataclasses.field(default_factory=list)
    gpus: int = bounded(1, least=1)
    gpu: Literal["cpu", "a100", "h100", "h200"] = "cpu"
    dim: int | None = None
    layers: int | None = None
    architecture: str | None = None
    folds: int | None = None
    seed_users: float | None = bounded(None, least=0, most=1e15)
    movies_per_user: int | None = None
    raters_per_movie: int | None = None
    genres: int | None = bounded(None, least=0, meaning="none")
    years: float | None = bounded(None, least=0, most=1000, meaning="no temporal bias")
    precision: Literal["bf16", "fp32"] = "bf16"
    gpus_per_host: int = bounded(8, least=1)
    link: float = bounded(50.0, above=0)
    latency: float = bounded(20.0, least=0)
    user_rows: Literal["device", "host"] = "device"
    memory: float | None = bounded(None, above=0)
    achieved: float = bounded(0.4, above=0, most=1)

    def check(self) -> None:
        """Checks the values of the options.

        Raises:
            UserError: Names the option and its valid values.
        """
        if self.data is None:
            for name in ("users", "movies", "ratings"):
                if getattr(self, name) is None:
                    raise UserError(f"--{name} is missing: pass it, such as --{name} 1e6, or --data PREPARED")
        check_bounds(self)
        for name in ("users", "movies", "ratings", "seed_users"):
            value = getattr(self, name)
            if value is not None and value != int(value):
                raise UserError(f"{dashed(name)} {value:g}: must be a whole number")

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
        if config.objective == "ranking":
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
        job = dataclasses.replace(job, wire=config.wire, interest=config.interest, **counts)
        if self.years is not None:
            job = dataclasses.replace(job, movie_bins=movie_bins(self.years * 31_557_600) if self.years else 0)
        self._check_job(job)
        return job

    def _check_job(self, job: TrainingJob) -> None:
        pairs = job.users * job.movies
        if job.ratings > pairs:
            sizes = f"{job.users:,} users and {job.movies:,} movies"
            raise UserError(f"--ratings {job.ratings:,}: {sizes} have {pairs:,} pairs: pass fewer ratings")
        if job.ranks > job.users:
            raise UserError(f"--gpus {job.ranks:,}: there are only {job.users:,} users: pass fewer")
