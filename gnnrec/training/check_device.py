"""Options that a GPU refuses, checked before a run directory is made."""

from __future__ import annotations

import torch

from gnnrec.config.train_config import TrainConfig
from gnnrec.errors import UserError


def check_device(config: TrainConfig, device: torch.device) -> None:
    """Refuses options that the device of this rank cannot serve.

    Raises:
        UserError: An option does not fit to a GPU, or to this one.
    """
    if device.type != "cuda":
        return
    if config.objective == "rating" and config.loader.samples and config.loader.sampler == "pyg":
        raise UserError(
            "--loader.sampler pyg samples on the CPU and would make the GPU wait: choose --loader.sampler builtin, "
            "or pass --device cpu"
        )
    if config.objective == "rating" and config.bf16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"{torch.cuda.get_device_name(device)} has no bfloat16: pass --bf16 false")
