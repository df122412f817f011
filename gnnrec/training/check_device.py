"""Options that a GPU refuses, checked before a run directory is made."""

from __future__ import annotations

import torch

from gnnrec.config.train_config import TrainConfig
from gnnrec.errors import UserError


def check_device(config: TrainConfig, device: torch.device) -> None:
    """Refuses options that the GPU of this rank cannot serve.

    Raises:
        UserError: Ratings are to be trained in bfloat16, which the GPU lacks.
    """
    if device.type != "cuda":
        return
    if config.objective != "ranking" and config.bf16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"{torch.cuda.get_device_name(device)} has no bfloat16: pass --bf16 false")
