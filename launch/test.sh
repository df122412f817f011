#!/usr/bin/env bash
# Runs the tests in this repository's environment: bash launch/test.sh [pytest arguments]
#
# torch-scatter and torch-sparse, which PyG's own samplers need, are compiled once, which takes minutes, and kept in
# ${XDG_CACHE_HOME:-~/.cache}/gnnrec/wheels. GNNREC_SKIP_TORCH_SPARSE=1 leaves them, and the tests that need them, out.
# tests/slurm needs SLURM and munge, and installs Debian's packages (as root). GNNREC_SKIP_SLURM=1 leaves these tests out.
# The tests of reports in a browser install Debian's Chromium in the same way. GNNREC_SKIP_CHROMIUM=1 leaves these out.
# Hosts on one machine (tests/benchmarks/test_hosts.py) need root and iproute2. GNNREC_SKIP_HOSTS=1 leaves them out.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=launch/environment.sh
source launch/environment.sh test wandb metis

install_torch_sparse() {
    local tag name version log="$gnnrec_venv/gnnrec-torch-sparse.log" kept aside found
    tag="$(python -c 'import sys, importlib.metadata as installed
print(f"cp{sys.version_info[0]}{sys.version_info[1]}-torch" + installed.version("torch").split("+")[0])')"
    is_installed "torch-sparse for $tag" && return
    kept="${XDG_CACHE_HOME:-$HOME/.cache}/gnnrec/wheels/$tag"
    mkdir -p "$kept" || fail "$kept cannot be made: name another place in XDG_CACHE_HOME"
    : >"$log"
    for name in torch-scatter torch-sparse; do
        version="$(sed -n "s/^$name==//p" launch/constraints.txt)"
        found="$(compgen -G "$kept/${name/-/_}-$version-*.whl" | head -n 1)" || true
        if [[ -z "$found" ]]; then
            say "torch-sparse: pip wheel $name==$version (minutes, once)"
            quietly "$log" python -m pip install --no-input --disable-pip-version-check \
                -c launch/constraints.txt setuptools wheel ninja
            aside="$(mktemp -d "$kept/.tmp-XXXXXX")"
            MAX_JOBS="${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)}" quietly "$log" python -m pip wheel --no-input \
                --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir "$aside" "$name==$version"
            mv "$aside"/*.whl "$kept/"
            rm -r "$aside"
            found="$(compgen -G "$kept/${name/-/_}-$version-*.whl" | head -n 1)"
        fi
        # torch-sparse imports torch-scatter, so each is installed before the next is compiled
        say "torch-sparse: pip install $(basename "$found")"
        quietly "$log" python -m pip install --no-input --disable-pip-version-check --no-deps --force-reinstall "$found"
    done
    quietly "$log" python -c 'import torch_sparse'
    printf '%s\n' "torch-sparse for $tag" >>"$gnnrec_done"
}

if [[ "${GNNREC_SKIP_TORCH_SPARSE:-}" != 1 ]]; then
    install_torch_sparse
fi

# One thread a worker: the tests are small, and several start ranks of their own.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
workers="$(getconf _NPROCESSORS_ONLN)"
workers=$((workers < 8 ? workers : 8))
say "tests: pytest -q -n $workers --dist loadgroup $*"
exec python -m pytest -q -n "$workers" --dist loadgroup "$@" </dev/null
