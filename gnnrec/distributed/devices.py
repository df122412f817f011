"""Selection of this rank's device."""

from __future__ import annotations

import importlib.util
import os

import torch

from gnnrec.errors import UserError


def select_device(device: str, local_rank: int) -> torch.device:
    """Returns the device of this rank; a GPU becomes torch's current one.

    Args:
        device: ``auto`` (CUDA where there is any), ``cpu``, ``cuda``.
        local_rank: Number of this rank on its host.

    Raises:
        UserError: The device does not exist here, has fewer GPUs than ranks, or lacks Triton.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: choose auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu or auto")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    ranks, visible = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if max(ranks, local_rank + 1) > visible:
        raise UserError(
            f"{max(ranks, local_rank + 1)} ranks on this host, and {visible} visible GPUs: "
            f"lower --nproc-per-node to {visible}, or pass --device cpu"
        )
    if not has_triton():
        raise UserError(
            "Triton is not installed, which compiles the kernels for GPUs: pip install triton, or pass --device cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None
