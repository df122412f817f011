"""One run with repeated faults, next to an undisturbed one, and the exports of both."""

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
#: Kinds of faults.
HURTS = ("kill -9 job", "kill -9 rank", "SIGTERM torchrun", "SIGTERM rank", "SIGUSR1 rank")


@dataclasses.dataclass(frozen=True)
class Kill:
    """One planned fault.

    Attributes:
        place: Its target: starting, training, saving, validation, summary or export.
        way: One of :data:`HURTS`.
        rank: The rank that it hits, for kinds that hit a single rank.
        fraction: Share of the longest delay in that place.
    """

    place: str
    way: str
    rank: int
    fraction: float


class Round:
    """An undisturbed run, a run with faults, and their exports.

    Args:
        directory: Directory for their files.
        name: Name of this round.
        config: Options of ``train_dist.py``.
        data: The prepared dataset.
        ranks: Ranks of the jobs.
        seed: Seed of training.

    Attributes:
        table: A row for each fault.
        lost: Every violation of the checks.
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
        # Checkpoints do not coincide with the ends of epochs, so that validation and saving are apart.
        common = {"log_every": 1, "checkpoint": {"every_steps": 7}, "wandb": {"mode": "disabled"}, "seed": seed}
        file.write_text(yaml.safe_dump(config | common), encoding="utf-8")
        self._train = [str(ROOT / "train_dist.py"), "--config", str(file), "--data", str(data), "--device", "cpu"]
        self.epochs, self.steps = config["optimizer"]["epochs"], 0

    def run(self, kills: list[Kill]) -> None:
        """Runs everything. Faults that came too late are repeated, in another run if necessary."""
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
        """Runs training to its end; returns the faults that came too late."""
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
        """Waits for the moment of a fault; False if the job ends before."""
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
        """Starts the job again and waits for a moment between the first imports and the first step."""
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
        """Injects a fault and waits until the job trains again; False if the job had ended, or ended nevertheless."""
        lives = len(job.starts())
        begun, before, struck = job.begun, look(run), time.monotonic()
        if not job.strike(kill.way, kill.rank):
            return False
        after = died = look(run)
        where = self._where(before, after) if begun else "starting"
        while kill.way == "kill -9 rank" and job.alive and len(job.ranks()) == self.ranks - 1:
            # Rank 0 may have been recording a step.
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
        """Runs one export with one fault; parts that it had written must not be written again."""
        out = self.directory / name
        job = Job(self._exporting(name), self.directory / f"{name}.log", self.ranks)
        try:
            job.start()
            if kill.fraction < 0.3:
                # Before any part is written, as far as files show.
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
