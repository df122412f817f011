#!/usr/bin/env bash
# Finds the Python environment of launch/environment.sh. It installs nothing: many nodes would do so at once.
# Sourced by scripts that set root and define a function fail.

gnnrec_python="${GNNREC_VENV:-${root:?}/.venv}/bin/python"
[[ -x "$gnnrec_python" ]] ||
    fail "no Python environment at ${gnnrec_python%/bin/python}: make it once, before any job: bash launch/environment.sh"
PATH="${gnnrec_python%/python}:$PATH"
export PATH
