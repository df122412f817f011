"""Runs in Weights & Biases (optional): no failure here ends a run that has started."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.config.training_options import WandbOptions
from gnnrec.errors import UserError
from gnnrec.training.tracking.best_effort import best_effort, one_line

if TYPE_CHECKING:
    from wandb import Artifact

#: Longest title of an alert.
_TITLE = 63


class WandbRun:
    """A run in W&B. Failures after its start become warnings.

    Args:
        directory: The run directory, for offline files.
        options: Options of W&B; the mode is not disabled.
        config: Configuration of the run.
        resumed: Id of a run to resume; None starts one.
        sent: Records that W&B has from after the checkpoint that the run is resumed from.
        job_type: Type of the run, such as ``train``.

    Raises:
        UserError: wandb is not installed, or cannot start.
    """

    def __init__(
        self,
        directory: Path,
        options: WandbOptions,
        config: dict,
        resumed: str | None = None,
        sent: list[dict] | None = None,
        job_type: str = "train",
    ):
        self._offline, self._best_effort = options.mode == "offline", best_effort("W&B")
        self._run = _start(directory, options, config, resumed, job_type)
        self.id = self._run.id
        self._sent = _SentBefore(directory / "wandb" / "sent.jsonl", sent or [])
        with self._best_effort:
            # A resumed run may return to a step that W&B's own counter has passed.
            self._run.define_metric("step", hidden=True)
            self._run.define_metric("*", step_metric="step")

    def log(self, record: dict) -> None:
        """Sends the numbers of a step, unless W&B has them already."""
        if record in self._sent:
            return
        with self._best_effort:
            self._run.log({name: value for name, value in record.items() if name != "time"})

    def summary(self, values: dict) -> None:
        with self._best_effort:
            self._run.summary.update(values)

    def table(self, name: str, columns: list[str], rows: list[list]) -> None:
        with self._best_effort:
            import wandb

            self._run.log({name: wandb.Table(columns=columns, data=rows)})

    def use_artifact(self, make: Callable[[], Artifact]) -> None:
        """Logs an input artifact of the run."""
        with self._best_effort:
            if self._offline:
                # use_artifact() refuses offline runs, but offline files and wandb sync support its record.
                self._run._log_artifact(make(), use_after_commit=True)
            else:
                self._run.use_artifact(make())

    def log_artifact(self, make: Callable[[], Artifact], aliases: list[str]) -> None:
        """Logs an output artifact of the run."""
        with self._best_effort:
            self._run.log_artifact(make(), aliases=aliases)

    def alert(self, title: str, text: str) -> None:
        """Sends an alert about an error."""
        with self._best_effort:
            self._run.alert(title[:_TITLE], text, level="ERROR")

    def finish(self, exit_code: int = 0, stopped: bool = False) -> None:
        """Ends the run; a stopped one is marked as preempting, so that it can be resumed."""
        with self._best_effort:
            if stopped:
                self._run.mark_preempting()
            self._run.finish(exit_code=exit_code)


class _SentBefore:
    """Records that W&B has although the run went back to a checkpoint before them: it logs them again, and W&B keeps
    the first ones.

    Args:
        path: File that keeps their names for the next time that the run is resumed.
        more: New records of this kind.
    """

    def __init__(self, path: Path, more: list[dict]):
        names = {_name(record) for record in more}
        with contextlib.suppress(OSError, ValueError):
            names |= {(step, tuple(keys)) for step, keys in json.loads(path.read_text(encoding="utf-8"))}
        self._names = names
        if more:
            with contextlib.suppress(OSError):
                path.write_text(json.dumps(sorted(names)) + "\n", encoding="utf-8")

    def __contains__(self, record: dict) -> bool:
        return bool(self._names) and _name(record) in self._names


def _name(record: dict) -> tuple[int, tuple[str, ...]]:
    return record["step"], tuple(sorted(record))


def _start(directory: Path, options: WandbOptions, config: dict, resumed: str | None, job_type: str) -> Any:
    try:
        import wandb
    except ImportError:
        raise UserError(
            "wandb is not installed: pip install 'gnnrec[wandb]', or switch it off with --wandb.mode disabled"
        ) from None
    try:
        return wandb.init(
            project=options.project,
            entity=options.entity or None,
            name=options.name or directory.name,
            group=options.group or None,
            tags=options.tags or None,
            job_type=job_type,
            dir=directory,
            mode=options.mode,
            config=config,
            allow_val_change=resumed is not None,
            id=resumed,
            resume="allow" if resumed else None,
            settings=wandb.Settings(silent=True),
        )
    except Exception as error:
        raise UserError(
            f"--wandb.mode {options.mode}: W&B cannot start ({one_line(error)}): run wandb login, or choose "
            "--wandb.mode offline (files for wandb sync) or disabled"
        ) from None
