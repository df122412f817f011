"""Options that a run keeps from its start to its end."""

from __future__ import annotations

import json
from typing import Any

from gnnrec.config.serialize import flat
from gnnrec.config.train_config import TrainConfig

#: Options that a resumed run may change: they do not affect what it learns, except for rounding.
_MAY_CHANGE = (
    *("data", "run_dir", "device", "user_rows", "log_every", "profile", "baselines", "overwrite", "max_minutes"),
    *("resume", "checkpoint", "wandb", "mlflow", "tensorboard"),
)


def find_changed(before: dict[str, Any], config: TrainConfig) -> tuple[str, Any, Any] | None:
    """Finds an option that differs from that of a checkpoint although a run must keep it.

    Args:
        before: Configuration in the checkpoint; options that it lacks did not exist then.
        config: The configuration now.

    Returns:
        Name, value now, and value before; None if there is none.
    """
    old, now = flat(before), flat(json.loads(json.dumps(config.as_dict())))
    for name, value in now.items():
        if name.split(".")[0] not in _MAY_CHANGE and name in old and old[name] != value:
            return name, value, old[name]
    return None
