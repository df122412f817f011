"""One run that is hurt again and again, next to an undisturbed one, and its exports."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from pathlib import Path

import yaml

from benchmarks.chaos_checks import differences, export_differences, leftovers, unsound
from benchmarks.chaos_job import ROOT, Job, Scene, look, parts_written, wait_for

_ATTEMPTS = 4
#: Ways to hurt a job.
HURTS = ("kill -9 job", "kill -9 rank", "SIGTERM torchrun", "SIGTERM rank", "SIGUSR1 rank")


@dataclasses.dataclass(frozen=True)
class Kill:
    """What is done.

    Attributes:
        place: Aimed at: starting, training, saving, validation, summary or export.
        way: One of :data:`HURTS`.
        rank: Whom it hits; where all are hit, nothing.
        fraction: Of the longest delay in that place.
    """

    place: str
    way: str
    rank: int
    fraction: float


class Round:
    """An undisturbed run, a run that is hurt, and their exports.

    Args:
        directory: Where they go.
        name: Of this round.
        config: Options of ``train_dist.py``.
        data: The prepared dataset.
        ranks: Ranks of the jobs.
        seed: Seed of training.

    Attributes:
        table: A row for each kill.
        lost: Whatever is not as it must be.
        steps: Steps of the undisturbed run.
    """

    def __init__(self, directory: Path, name: str, config: dict, data: Path, ranks: int, seed: int):
        self.directory, self.name, self.ranks = directory / name, name, ranks
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.table: list[dict] = []
        self.lost: list[str] = []
        self._delay = 1.0  # less when a moment was missed
        file = self.directory / "config.yaml"
        # CheckpointManager do not fall on the ends of epochs, so that validation and saving are apart.
        common = {"log_every": 1, "checkpoint": {"every_steps": 7}, "wandb": {"mode": "disabled"}, "seed": seed}
        file.write_text(yaml.safe_dump(config | common), encoding="utf-8")
        self._train = [str(ROOT / "train_dist.py"), "--config", str(file), "--data", str(data), "--device", "cpu"]
        self.epochs, self.steps = config["optimizer"]["epochs"], 0

    def run(self, kills: list[Kill]) -> None:
        """Does everything. Kills that came too late are repeated, in another run where need be."""
        self._undisturbed("calm", self._training("calm"))
        self._undisturbed("calm-export", self._exporting("calm-export"))
        self.steps = look(self.directory / "calm").step
        late = [kill for kill in kills if kill.place != "export"]
        for attempt in range(_ATTEMPTS if late else 0):
            self._delay = 0.5**attempt
            late = self._hurt_training(f"hurt-{attempt}", late)
            ends = self.directory / "calm", self.directory / f"hurt-{attempt}"
            self._lose(*differences(*ends))
            if not late:
                break
        for number, kill in enumerate(kill for kill in kills if kill.place == "export"):
            for attempt in range(_ATTEMPTS):
                self._delay = 0.5**attempt
                if self._hurt_export(kill, f"export-{number}-{attempt}"):
                    break
            else:
                late.append(kill)
        self._lose(*leftovers(self.directory), *(f"{kill} found no living job" for kill in late))

    def _lose(self, *lines: str) -> None:
        self.lost += [f"{self.name}: {line}" for line in lines]

    def _training(self, name: str) -> list[str]:
        return [*self._train, "--run-dir", str(self.directory / name), "--resume", "auto"]

    def _exporting(self, name: str) -> list[str]:
        out = ["--out", str(self.directory / name), "--part-rows", "20", "--chunk", "50", "--device", "cpu"]
        return ["-m", "gnnrec.export", str(self.directory / "calm"), *out]

    def _undisturbed(self, name: str, arguments: list[str]) -> None:
        job = Job(arguments, self.directory / f"{name}.log", self.ranks)
        job.start()
        try:
            if job.wait():
                raise RuntimeError(f"the undisturbed run fails: see {job.log}")
        finally:
            job.end()

    def _hurt_training(self, name: str, kills: list[Kill]) -> list[Kill]:
        """One run to its end; returns the kills that came too late."""
        run, late = self.directory / name, []
        job = Job(self._training(name), self.directory / f"{name}.log", self.ranks)
        try:
            job.start()
            for kill in kills:
                if not self._reach(kill, job, run) or not self._strike(kill, job, run):
                    late.append(kill)
            while not look(run).finished:
                if job.wait():
                    job.start()
            job.wait()
        finally:
            job.end()
        return late

    def _reach(self, kill: Kill, job: Job, run: Path) -> bool:
        """Waits for the moment; False when the job ends before."""
        if kill.place == "starting":
            return self._reach_start(kill, job)
        if not wait_for(lambda: job.begun, job):
            return False
        began = look(run).step

        def there() -> bool:
            scene = look(run)
            if kill.place == "training":
                return scene.step >= began + 1 + int(60 * kill.fraction)
            if kill.place == "saving":
                return bool(scene.being_saved)
            if kill.place == "validation":
                return self._validating(scene)
            return self._summarising(scene)

        reached = wait_for(lambda: there() or look(run).finished, job) and not look(run).finished
        longest = {"training": 0.05, "saving": 0.05, "validation": 0.08, "summary": 0.5}[kill.place]
        time.sleep(self._delay * longest * kill.fraction)
        return reached

    def _reach_start(self, kill: Kill, job: Job) -> bool:
        """Some moment between the first imports and the first step: the job is started again for it."""
        if job.alive and job.begun:
            job.strike("kill -9 job", 0)
            job.start()
        reached = wait_for(lambda: len(job.ranks()) == self.ranks, job)
        time.sleep(5 * kill.fraction)
        return reached

    def _validating(self, scene: Scene) -> bool:
        return scene.step > 0 and scene.step % (self.steps // self.epochs) == 0 and not scene.validated

    def _summarising(self, scene: Scene) -> bool:
        return scene.step == self.steps == scene.saved and scene.validated and not scene.being_saved

    def _where(self, before: Scene, after: Scene) -> str:
        if before.being_saved and before.being_saved == after.being_saved:
            return f"saving, step {before.step}"
        if self._summarising(before):
            return "summary"
        if self._validating(before):
            return f"validation, step {before.step}"
        return f"training, step {before.step}"

    def _strike(self, kill: Kill, job: Job, run: Path) -> bool:
        """Hurts the job and waits until it is at work again; False where it had ended, or ended nevertheless."""
        lives = len(job.starts())
        begun, before, struck = job.begun, look(run), time.monotonic()
        if not job.strike(kill.way, kill.rank):
            return False
        after = died = look(run)
        where = self._where(before, after) if begun else "starting"
        while kill.way == "kill -9 rank" and job.alive and len(job.ranks()) == self.ranks - 1:
            # Rank 0 may have been about to record a step.
            died = look(run)
            time.sleep(0.01)
        if not wait_for(lambda: len(job.starts()) > lives, job):
            code, died = job.wait(), look(run)
            if code == 0 or died.finished:
                return False
            if "-9" not in kill.way and not job.says_stopped():
                self._lose(f"no word of a stop after {kill}")
            self._lose(*(f"{line} after {kill}" for line in unsound(run)))
            job.start()
            wait_for(lambda: len(job.starts()) > lives, job)
        self._lose(*(f"{line} after {kill}" for line in unsound(run)))
        resumed = job.starts()[lives]
        if resumed < max(before.saved, after.saved):
            self._lose(f"step {max(before.saved, after.saved)} was saved, resumed at {resumed}")
        self._note(kill, where, died.step, resumed, struck)
        return True

    def _note(self, kill: Kill, where: str, died: int, resumed: int, struck: float, unit: str = "step") -> None:
        who = kill.rank if kill.way.endswith("rank") else "all"
        row = {"run": self.name, "way": kill.way, "rank": who, "where": where, "unit": unit}
        row |= {"died_at": died, "resumed_at": resumed, "repeated": max(0, died - resumed)}
        self.table.append(row | {"seconds": round(time.monotonic() - struck, 1)})
        print(self.table[-1], flush=True)

    def _hurt_export(self, kill: Kill, name: str) -> bool:
        """One export that is hurt once; what it had written must not be written again."""
        out = self.directory / name
        job = Job(self._exporting(name), self.directory / f"{name}.log", self.ranks)
        try:
            job.start()
            if kill.fraction < 0.3:
                # Before any part is written, as far as one can tell.
                reached = wait_for(job.listens, job)
                time.sleep(self._delay * kill.fraction)
            else:
                reached = wait_for(lambda: parts_written(out), job)
                time.sleep(self._delay * 0.8 * (kill.fraction - 0.3))
            before, struck = parts_written(out), time.monotonic()
            if not reached or (out / "manifest.json").exists() or not job.strike(kill.way, kill.rank):
                return False
            after = parts_written(out)
            if "-9" not in kill.way:
                job.wait()
                if not job.says_stopped():
                    return False
            while not (out / "manifest.json").exists():
                if job.wait() and not (out / "manifest.json").exists():
                    job.start()
            job.wait()
        finally:
            job.end()
        found = re.findall(r"\((\d+) of \d+ parts were already written\)", job.log.read_text(encoding="utf-8"))
        kept = int(found[-1]) if found else 0
        if kept < before:
            self._lose(f"{before} parts were written, {kept} were kept after {kill}")
        self._note(kill, f"export, {before} parts written", after, kept, struck, "part")
        self._lose(*export_differences(self.directory / "calm-export", out))
        return True
