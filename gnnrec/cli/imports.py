"""Imports of the commands, each when it is called: all take four seconds, those of ``prepare`` less than two.

Each function returns the dataclass of the options, and a function of the path, if any, and the options.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Runner = Callable[..., Any]


def prepare() -> tuple[type, Runner]:
    """Imports ``gnnrec prepare``."""
    from gnnrec.data.prepare import PrepareOptions, prepare

    return PrepareOptions, prepare


def synth() -> tuple[type, Runner]:
    """Imports ``gnnrec synth``."""
    from gnnrec.data.synth import SynthOptions, synth

    return SynthOptions, synth


def train() -> tuple[type, Runner]:
    """Imports ``gnnrec train``."""
    from gnnrec.config.train_config import TrainConfig
    from gnnrec.training.run import train

    start = _on_ranks(train)

    def call(config: TrainConfig) -> None:
        config.check()
        start(config)

    return TrainConfig, call


def tune() -> tuple[type, Runner]:
    """Imports ``gnnrec tune``."""
    from gnnrec.tools.tuning.tune import TuneOptions, tune

    return TuneOptions, _on_ranks(tune)


def compare() -> tuple[type, Runner]:
    """Imports ``gnnrec compare``."""
    from gnnrec.distributed import process_group
    from gnnrec.tools.comparison.compare import CompareOptions, compare

    def call(data: Path, options: CompareOptions) -> None:
        # Every fit runs in processes of its own, and these ranks only wait for them.
        with process_group.process_group("cpu") as world:
            compare(data, options, world)

    return CompareOptions, call


def evaluate() -> tuple[type, Runner]:
    """Imports ``gnnrec evaluate``."""
    from gnnrec.inference.evaluate import EvaluateOptions, evaluate

    return EvaluateOptions, _on_ranks(evaluate)


def export() -> tuple[type, Runner]:
    """Imports ``gnnrec export``."""
    from gnnrec.inference.export import ExportOptions, export

    return ExportOptions, _on_ranks(export)


def verify_data() -> tuple[type, Runner]:
    """Imports ``gnnrec prepare --verify``."""
    from gnnrec.data.verify import VerifyDataOptions, verify_data

    return VerifyDataOptions, verify_data


def append() -> tuple[type, Runner]:
    """Imports ``gnnrec prepare --append``."""
    from gnnrec.data.growth.append import append
    from gnnrec.data.growth.append_options import AppendOptions

    return AppendOptions, append


def compact() -> tuple[type, Runner]:
    """Imports ``gnnrec prepare --compact``."""
    from gnnrec.data.growth.compact import CompactOptions, compact

    return CompactOptions, compact


def forget_user() -> tuple[type, Runner]:
    """Imports ``gnnrec prepare --forget-user``."""
    from gnnrec.data.growth.forget import ForgetOptions, forget_users

    return ForgetOptions, forget_users


def verify() -> tuple[type, Runner]:
    """Imports ``gnnrec export --verify``."""
    from gnnrec.inference.export_verify import VerifyOptions, verify

    return VerifyOptions, verify


def update() -> tuple[type, Runner]:
    """Imports ``gnnrec update``."""
    from gnnrec.tools.updating.options import UpdateOptions
    from gnnrec.tools.updating.update import update

    return UpdateOptions, _on_ranks(update)


def publish() -> tuple[type, Runner]:
    """Imports ``gnnrec publish``."""
    from gnnrec.tools.publishing.publish import PublishOptions, publish

    return PublishOptions, publish


def recommend() -> tuple[type, Runner]:
    """Imports ``gnnrec recommend``."""
    from gnnrec.inference.recommend import RecommendOptions, run_recommend

    return RecommendOptions, run_recommend


def serve() -> tuple[type, Runner]:
    """Imports ``gnnrec serve``."""
    from gnnrec.serving.serve import ServeOptions, serve

    return ServeOptions, serve


def predict() -> tuple[type, Runner]:
    """Imports ``gnnrec predict``."""
    from gnnrec.inference.predict import run_predict
    from gnnrec.inference.predict_options import PredictOptions

    return PredictOptions, run_predict


def report() -> tuple[type, Runner]:
    """Imports ``gnnrec report``."""
    from gnnrec.reporting.report import ReportOptions, run_report

    return ReportOptions, run_report


def plan() -> tuple[type, Runner]:
    """Imports ``gnnrec plan``."""
    from gnnrec.tools.planning.options import PlanOptions
    from gnnrec.tools.planning.plan import plan

    return PlanOptions, plan


def _on_ranks(function: Callable[..., Any]) -> Runner:
    """Adds starting and stopping the ranks to a function of a path, if any, options and world."""

    def call(*arguments: Any) -> None:
        from gnnrec.distributed import process_group

        process_group.share_cores()
        with process_group.process_group(arguments[-1].device) as world:
            function(*arguments, world)

    return call


def store() -> tuple[type, Runner]:
    """Imports ``gnnrec store``."""
    from gnnrec.stores.commands import StoreOptions, load_store

    return StoreOptions, load_store


def store_query() -> tuple[type, Runner]:
    """Imports ``gnnrec store --query``."""
    from gnnrec.stores.commands import QueryOptions, query_store

    return QueryOptions, query_store
