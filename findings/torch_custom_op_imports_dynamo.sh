#!/usr/bin/env bash
# torch.library.custom_op: the first call imports the graph compiler (torch._dynamo and sympy), also in inference mode.
#
# Package: torch 2.13.0 (CPU), Python 3.11 on Linux. Seen on 2026-11-29.
# Behavior: importing torch does not import torch._dynamo. The first call of an operator that was made by
#   torch.library.custom_op does, even where nothing is compiled and no gradient is recorded; so do torch.optim.Adam and
#   checkpoint(use_reentrant=False). The same operator defined by torch.library.Library does not, nor an autograd function.
#   The import takes about two seconds on one core, which every short program with such an operator waits.
# Output: custom_op True, Library False, Function False, Linear False, Adam True, checkpoint True (one line each)
# Matters to: export, evaluation and recommendations, which call the functions of operators directly
#   (gnnrec/kernels/operators.py).
# Exits with 0 if this is still so, with 1 if it has changed.
set -euo pipefail

place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.5
cat >"$place/imports.py" <<'PYTHON'
import sys

import torch
from torch.utils.checkpoint import checkpoint


def double(values: torch.Tensor) -> torch.Tensor:
    return 2 * values


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return 2 * values

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def library():
    mine = torch.library.Library("own", "DEF")
    mine.define("double(Tensor values) -> Tensor")
    mine.impl("double", double, "CPU")
    torch.ops.own.double(torch.ones(3))


def custom_op():
    torch.library.custom_op("mine::double", mutates_args=())(double)(torch.ones(3))


calls = {
    "custom_op": torch.inference_mode()(custom_op),
    "Library": torch.inference_mode()(library),
    "Function": lambda: Double.apply(torch.ones(3, requires_grad=True)).sum().backward(),
    "Linear": lambda: torch.nn.Linear(3, 2)(torch.ones(3)),
    "Adam": lambda: torch.optim.Adam([torch.ones(3, requires_grad=True)]),
    "checkpoint": lambda: checkpoint(double, torch.ones(3, requires_grad=True), use_reentrant=False),
}
assert "torch._dynamo" not in sys.modules and "sympy" not in sys.modules
calls[sys.argv[1]]()
assert ("torch._dynamo" in sys.modules) == ("sympy" in sys.modules)
print(sys.argv[1], "torch._dynamo" in sys.modules)
PYTHON
seen=""
for name in custom_op Library Function Linear Adam checkpoint; do
    seen+="$("$place/venv/bin/python" "$place/imports.py" "$name")"$'\n'
done
printf '%s' "$seen"
expected='custom_op True
Library False
Function False
Linear False
Adam True
checkpoint True
'
[[ "$seen" == "$expected" ]] || { echo "this has changed" >&2; exit 1; }
