"""Where a run's numbers go: a log line, ``metrics.jsonl`` and Weights & Biases, all from rank 0."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from gnnrec.errors import STOPPED_EXIT_CODE, UserError
from gnnrec.output import say
from gnnrec.training.records import Records


@dataclasses.dataclass
class WandbOptions:
    """Weights & Biases.

    Args:
        mode: offline (files in the run directory, for wandb sync), online, or disabled (wandb need not be installed).
        project: Project.
        entity: Team or user; empty for the default one.
        name: Name of the run; empty takes the name of the run directory.
    """

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "gnnrec"
    entity: str = ""
    name: str = ""


class Tracker:
    """Takes the numbers of a run. On ranks other than 0 it does nothing.

    Args:
        run: The run directory.
        options: Those of W&B.
        config: The resolved configuration.
        active: True on rank 0.
        recorded_bytes: Length of ``metrics.jsonl`` to go on from; what follows is dropped.
        unrecorded: What belongs behind it and was not on the disk yet.
        wandb_run: Id of the W&B run to go on with; None starts one.
    """

    def __init__(
        self,
        run: Path,
        options: WandbOptions,
        config: dict,
        active: bool,
        recorded_bytes: int = 0,
        unrecorded: str = "",
        wandb_run: str | None = None,
    ):
        self.active = active
        self._file = self._wandb = None
        if active:
            self._file = Records(run / "metrics.jsonl", recorded_bytes, unrecorded)
            self._wandb = _start_wandb(run, options, config, wandb_run)

    @property
    def recorded_bytes(self) -> int:
        """Length of ``metrics.jsonl``."""
        return self._file.size if self._file is not None else 0

    @property
    def unrecorded(self) -> str:
        """What a full disk keeps out of ``metrics.jsonl``."""
        return self._file.waiting if self._file is not None else ""

    def sync(self) -> None:
        """Waits until ``metrics.jsonl`` is on the disk."""
        if self._file is not None:
            self._file.sync()

    @property
    def wandb_run(self) -> str | None:
        """Id of the W&B run; None without one."""
        return self._wandb.id if self._wandb is not None else None

    def log(self, step: int, **values: Any) -> None:
        """Records numbers of one optimizer step; steps must not go back."""
        if not self.active:
            return
        self._file.write(json.dumps({"step": step, "time": round(time.time(), 3), **values}))
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def summary(self, values: dict) -> None:
        """Records the results of the run."""
        if self._wandb is not None:
            self._wandb.summary.update(values)

    def table(self, name: str, columns: list[str], rows: list[list]) -> None:
        """Records a table, in W&B only."""
        if self._wandb is not None:
            import wandb

            self._wandb.log({name: wandb.Table(columns=columns, data=rows)})

    def close(self, exit_code: int = 0) -> None:
        """Ends the records; may be called more than once. The code of a stop leaves the W&B run to be gone on with."""
        if exit_code == STOPPED_EXIT_CODE and self._wandb is not None:
            self._wandb.mark_preempting()
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._wandb is not None:
            self._wandb.finish(exit_code=exit_code)
            self._wandb = None


def _start_wandb(run: Path, options: WandbOptions, config: dict, resumed: str | None) -> Any:
    if options.mode == "disabled":
        return None
    try:
        import wandb
    except ImportError:
        raise UserError(
            "wandb is not installed: pip install 'gnnrec[wandb]', or switch it off with --wandb.mode disabled"
        ) from None
    return wandb.init(
        project=options.project,
        entity=options.entity or None,
        name=options.name or run.name,
        dir=run,
        mode=options.mode,
        config=config,
        id=resumed,
        resume="allow" if resumed else None,
        settings=wandb.Settings(silent=True),
    )


class ProgressBar:
    """Steps of the run on a terminal; only lines when the output goes to a file. Ranks other than 0 show nothing."""

    def __init__(self, total: int, active: bool, done: int = 0):
        self._active = active
        self._bar = tqdm(
            total=total, initial=done, unit="step", leave=False, disable=not (active and sys.stderr.isatty())
        )

    def update(self, **values: str) -> None:
        self._bar.set_postfix(values, refresh=False)
        self._bar.update()

    def write(self, line: str) -> None:
        """Prints a line above the bar."""
        if not self._active:
            return
        if self._bar.disable:
            say(line)
        else:
            self._bar.write(line)

    def close(self) -> None:
        self._bar.close()
