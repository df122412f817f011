"""A job of three ranks, one of which fails: ``python -m tests.distributed.faulty FAULT``."""

from __future__ import annotations

import os
import signal
import sys
import time

import torch
from torch import nn

from gnnrec.distributed.exit import exit_on_user_error
from gnnrec.distributed.process_group import process_group
from gnnrec.distributed.world import World
from gnnrec.errors import UserError

FAULTY_RANK, STEPS_BEFORE = 1, 3


class Model(nn.Module):
    """A sum over ranks inside a module within DDP, as in the trainers."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.weight = world, nn.Parameter(torch.ones(3))

    def forward(self) -> torch.Tensor:
        total = self.world.reduce(self.weight * (1 + self.world.rank))
        return self.world.use(total).square().sum()


def main(fault: str) -> None:
    with process_group("cpu") as world:
        model = world.replicate(Model(world))
        for _ in range(STEPS_BEFORE):
            model().backward()
        print(f"rank {world.rank}: before", flush=True)
        fail(fault, world, model)
        print(f"rank {world.rank}: after", flush=True)


def fail(fault: str, world: World, model: nn.Module) -> None:
    faulty = world.rank == FAULTY_RANK
    if fault == "stop" and faulty:
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault in ("kill", "kill in DDP") and faulty:
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "kill the store" and world.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "bug" and faulty:
        raise KeyError("a bug of rank 1")
    elif fault == "user error" and faulty:
        raise UserError("no rating here: look elsewhere")
    elif fault == "sleep" and faulty:
        time.sleep(600)
    elif fault == "leave" and faulty:
        return
    elif fault == "different collectives":
        world.all_gather(torch.ones(1)) if faulty else world.barrier()
        time.sleep(600)
    elif fault == "RuntimeError":
        raise RuntimeError("a bug of all ranks")
    elif fault == "compute long":
        # First all ranks, without a collective; then one alone, after the others have left.
        time.sleep(3)
        world.barrier()
        time.sleep(5 * faulty)
        return
    model().backward() if fault.endswith("DDP") else world.barrier()
    time.sleep(1)


if __name__ == "__main__":
    with exit_on_user_error("faulty"):
        main(sys.argv[1])
