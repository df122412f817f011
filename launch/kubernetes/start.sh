#!/usr/bin/env bash
# Starts the ranks of one pod: launch/torchrun.sh with the Python of the image. Its variables are set by the manifests.
set -euo pipefail

python="$(command -v python || true)"
if [[ -z "$python" ]]; then
    printf 'start.sh: error: there is no python in PATH: build the image with the Dockerfile\n' >&2
    exit 2
fi
bin="${python%/*}"
export GNNREC_VENV="${bin%/*}"
exec bash "$(dirname "${BASH_SOURCE[0]}")/../torchrun.sh" "$@"
