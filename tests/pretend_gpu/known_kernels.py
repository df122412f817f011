"""Launches kernels with known memory traffic on the pretend GPU: ``python -m tests.pretend_gpu.known_kernels``.

Prints a JSON object: name -> launches, bytes and results, or the text of an error. Needs ``TRITON_INTERPRET=1``.
"""

from __future__ import annotations

import json

import torch
import triton
import triton.language as tl

from tests.pretend_gpu.device import counting, pretend_gpu

#: Rows that are gathered, their width, and the rows of the table.
ENTRIES, WIDTH, ROWS = 10, 5, 7
#: Entries of lists.
LENGTHS = [3, 0, 5, 9, 1]


@triton.jit
def _gather(table, entry, out, entries, WIDTH: tl.constexpr, TILE: tl.constexpr):
    place = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = place < entries
    row = tl.load(entry + place, mask=inside, other=0)
    across = tl.arange(0, 8)
    mask = inside[:, None] & (across < WIDTH)[None, :]
    read = tl.load(table + row[:, None] * WIDTH + across[None, :], mask=mask, other=0)
    tl.store(out + place[:, None] * WIDTH + across[None, :], read.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _list_sums(pointer, values, out, TILE: tl.constexpr):
    """Adds the sum of a list to a number, which programs change before they take different ways."""
    own = out + tl.program_id(0)
    begin, end = tl.load(pointer + tl.program_id(0)), tl.load(pointer + tl.program_id(0) + 1)
    tl.store(own, tl.load(own) + 1)
    for start in range(begin, end, TILE):
        place = start + tl.arange(0, TILE)
        tl.store(own, tl.load(own) + tl.sum(tl.load(values + place, mask=place < end, other=0), 0))
    if tl.program_id(0) % 2 == 0:
        tl.store(own, -tl.load(own))


@triton.jit
def _add_atomically(out):
    tl.atomic_add(out, 1.0)


def gather(device: torch.device) -> dict:
    """A gather in three programs, the last of which is partly masked, and one without programs."""
    table = torch.arange(ROWS * WIDTH, dtype=torch.float64, device=device).view(ROWS, WIDTH)
    entry = torch.tensor([6, 0, 0, 3, 5, 5, 5, 1, 2, 6], dtype=torch.int32, device=device)
    out = torch.zeros(ENTRIES, WIDTH, dtype=torch.float64, device=device)
    with counting() as counts:
        _gather[(3,)](table, entry, out, ENTRIES, WIDTH, 4, num_warps=1)
        _gather[(0,)](table, entry, out, 0, WIDTH, 4, num_warps=1)
    return {
        "launches": counts.launches.total(),
        "triton": dict(counts.triton),
        "bytes": dict(counts.bytes),
        "equal": torch.equal(out.cpu(), table.cpu()[entry.cpu().long()]),
    }


def narrow(device: torch.device) -> dict:
    """The gather from a table in bfloat16 into one in float32."""
    table = torch.linspace(-3, 3, ROWS * WIDTH, device=device).view(ROWS, WIDTH).bfloat16()
    entry = torch.tensor([6, 0, 0, 3, 5, 5, 5, 1, 2, 6], dtype=torch.int32, device=device)
    out = torch.zeros(ENTRIES, WIDTH, device=device)
    with counting() as counts:
        _gather[(3,)](table, entry, out, ENTRIES, WIDTH, 4, num_warps=1)
    return {"bytes": dict(counts.bytes), "equal": torch.equal(out.cpu(), table.cpu()[entry.cpu().long()].float())}


def diverging(device: torch.device) -> dict:
    """Lists of different lengths, whose programs also take different branches."""
    pointer = torch.tensor([0, *LENGTHS]).cumsum(0).to(device)
    values, out = torch.arange(float(sum(LENGTHS)), device=device), torch.arange(5.0, device=device)
    with counting() as counts:
        _list_sums[(len(LENGTHS),)](pointer, values, out, 4, num_warps=1)
    return {"bytes": dict(counts.bytes), "sums": out.tolist()}


def mixed(device: torch.device) -> None:
    _gather[(3,)](torch.zeros(ROWS, WIDTH, device=device), torch.zeros(ENTRIES), torch.zeros(9), 9, WIDTH, 4)


def atomic(device: torch.device) -> None:
    _add_atomically[(1,)](torch.zeros(1, device=device))


def main() -> None:
    results: dict = {}
    with pretend_gpu() as device:
        for case in (gather, narrow, diverging, mixed, atomic):
            with counting() as counts:
                try:
                    results[case.__name__] = case(device)
                except Exception as error:
                    results[case.__name__] = str(error)
            results[f"{case.__name__} mixes devices"] = counts.mixing
    print(json.dumps(results))


if __name__ == "__main__":
    main()
