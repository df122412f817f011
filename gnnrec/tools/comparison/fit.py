"""``python -m gnnrec.tools.comparison.fit JOB``: one fit of one model, in a process so that its memory is measured."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

import torch

from gnnrec.baselines.baseline import fit_best
from gnnrec.config.train_config import TrainConfig, assigned_train_config
from gnnrec.data.prepared import TEST, PreparedDataset, message_splits
from gnnrec.distributed import process_group
from gnnrec.distributed.world import World
from gnnrec.evaluation.metrics import Metrics
from gnnrec.evaluation.user_sums import UserSums
from gnnrec.graph.partition import partition
from gnnrec.inference.load import load_run
from gnnrec.tools.comparison.models import BASELINES, GNNS
from gnnrec.training.run import train
from gnnrec.utils import files
from gnnrec.utils.memory import peak_memory_gib


@dataclasses.dataclass(frozen=True)
class FitJob:
    """A fit.

    Attributes:
        data: Prepared dataset.
        objective: rating or ranking.
        model: Name of a baseline or of a GNN.
        seed: Random seed of the fit.
        config: YAML file of training options, or None.
        assignments: ``OPTION=VALUE`` that override those of the file.
        run_dir: Temporary run directory of a GNN.
        result: Path of the result.
        by_user: Write the sums of single users too, next to the result (:func:`sums_path`).
    """

    data: str
    objective: str
    model: str
    seed: int
    config: str | None
    assignments: list[str]
    run_dir: str
    result: str
    by_user: bool = False

    def train_config(self) -> TrainConfig:
        """Creates the training configuration, with the options of the GNN."""
        fixed = ["wandb.mode=disabled", "baselines=false", "interest.enabled=false", "overwrite=true"]
        fixed += [*GNNS[self.objective].get(self.model, [])]
        config = None if self.config is None else Path(self.config)
        return assigned_train_config(
            config, [*self.assignments, *fixed], data=self.data, run_dir=self.run_dir, seed=self.seed
        )


def sums_path(result: Path) -> Path:
    """Path of the test sums of single users of a fit, given that of its result."""
    return result.with_suffix(".npz")


def fit(job: FitJob, config: TrainConfig, world: World) -> tuple[dict, UserSums | None]:
    """Fits a model, selects on validation and measures on test once.

    Args:
        job: The job.
        config: Its configuration.
        world: The ranks; every rank calls this.

    Returns:
        ``metrics`` (test), ``validation`` (loss, or None), ``setting`` (selected options of a baseline), ``seconds``
        (reading, fitting, the search of a baseline, and scoring) and ``peak_memory_gib`` (of a rank); and the test sums
        of the users of all ranks, if the job asks for them.
    """
    started, measured = time.perf_counter(), None
    if job.model in BASELINES[job.objective]:
        splits = message_splits(config.refit)
        baseline = BASELINES[job.objective][job.model].with_count_confidence(config.ranking.count_confidence)
        chosen = fit_best(baseline, PreparedDataset(config.data), world, splits, job.seed)
        measured = chosen.fitted.metrics(TEST)
        result = {
            "metrics": measured.figures(),
            "validation": chosen.validation_loss,
            "setting": chosen.setting,
        }
    else:
        losses: list[float] = []
        summary = train(config, world, on_validation=lambda epoch, metrics: losses.append(metrics.loss))
        figures = {name.removeprefix("test_"): value for name, value in summary.items() if name.startswith("test_")}
        result = {
            "metrics": {name: value for name, value in figures.items() if value is None or isinstance(value, float)},
            "validation": min(losses, default=None),
            "setting": {},
        }
    result["seconds"] = time.perf_counter() - started
    peak = torch.tensor(peak_memory_gib(), dtype=torch.float64, device=world.device)
    result["peak_memory_gib"] = world.all_reduce_max_(peak).item()
    return result, _sums(measured, config, world) if job.by_user else None


def _sums(measured: Metrics | None, config: TrainConfig, world: World) -> UserSums | None:
    """Test sums of the users of all ranks; a GNN is measured once more for them."""
    if measured is None:
        loaded = load_run(config.run_dir, world)
        measured = loaded.evaluate(TEST, loaded.embed())
    shards = PreparedDataset(config.data).manifest.shards
    first_row = partition(shards, world.rank, world.size).start
    return None if measured.by_user is None else measured.by_user.gathered(first_row, world)


def main(path: str) -> None:
    """Runs the job of a JSON file on this rank."""
    job = FitJob(**json.loads(Path(path).read_text(encoding="utf-8")))
    config = job.train_config()
    process_group.share_cores()
    with process_group.process_group(config.device) as world:
        result, sums = fit(job, config, world)
        if world.is_main:
            if sums is not None:
                sums.save(sums_path(Path(job.result)))
            identity = {"model": job.model, "seed": job.seed}
            files.write_text(Path(job.result), json.dumps(identity | result, indent=1) + "\n")


if __name__ == "__main__":
    from gnnrec.distributed.exit import exit_on_user_error

    with exit_on_user_error("fit"):
        main(sys.argv[1])
