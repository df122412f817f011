#!/usr/bin/env bash
# torch.distributed.all_reduce over gloo: equal elements of a bfloat16 tensor get unequal sums.
#
# Package: torch 2.13.0 (CPU, gloo), Python 3.11 on Linux. Seen on 2026-11-29.
# Behavior: with 3 ranks, of which rank 0 holds 256 in every element and the others 1, the sum is 258 in the first half of
#   a tensor and 256 in the other. The ring starts at another rank for each part of the tensor and rounds after each
#   addition: 1 + 1 + 256 is 258, but 256 + 1 is rounded to 256. float16 does the same with 2048 + 1 + 1. All ranks get the
#   same tensor. So a table with equal rows has unequal rows after the sum, and which rows depends on the number of ranks.
# Output: bfloat16 [258.0, 258.0, 256.0, 256.0]
#         float16 [2050.0, 2050.0, 2048.0, 2048.0]
#         float32 [258.0, 258.0, 258.0, 258.0]
# Matters to: --wire bf16, whose results are only about those of one rank (docs/guide.md).
# Exits with 0 if this is still so, with 1 if it has changed.
set -euo pipefail

place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.5
cat >"$place/sums.py" <<'PYTHON'
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
for dtype, large in ((torch.bfloat16, 256), (torch.float16, 2048), (torch.float32, 256)):
    table = torch.full((4,), large if dist.get_rank() == 0 else 1, dtype=dtype)
    dist.all_reduce(table)
    everywhere = [torch.empty_like(table) for _ in range(3)]
    dist.all_gather(everywhere, table)
    assert all(torch.equal(other, table) for other in everywhere)
    if dist.get_rank() == 0:
        print(str(dtype).removeprefix("torch."), table.tolist(), flush=True)
dist.destroy_process_group()
PYTHON
seen="$(OMP_NUM_THREADS=1 "$place/venv/bin/python" -m torch.distributed.run --standalone --nproc-per-node 3 \
    "$place/sums.py" 2>"$place/errors")" || { cat "$place/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='bfloat16 [258.0, 258.0, 256.0, 256.0]
float16 [2050.0, 2050.0, 2048.0, 2048.0]
float32 [258.0, 258.0, 258.0, 258.0]'
[[ "$seen" == "$expected" ]] || { echo "this has changed" >&2; exit 1; }
