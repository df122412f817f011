#!/usr/bin/env bash
# Runs the tests in this repository's environment.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash launch/test.sh [--with-torch-sparse] [pytest arguments]

  --with-torch-sparse   also test PyG's own sampler: torch-scatter and torch-sparse are compiled once, which takes about
                        ten minutes, and kept in ${XDG_CACHE_HOME:-~/.cache}/gnnrec/wheels

Without pytest arguments all tests run. -m "not slow" is the quick selection, and a path runs a part: tests/models.

  GNNREC_SKIP_SLURM=1      leave out tests/slurm, which needs slurm-wlm and munge and, as root, installs them
  GNNREC_SKIP_CHROMIUM=1   leave out reports in a browser, which need chromium and, as root, install it
  GNNREC_SKIP_HOSTS=1      leave out tests/benchmarks/test_hosts.py, which needs root and iproute2
  OMP_NUM_THREADS          threads of each test process (default 1)
TEXT
}

with_torch_sparse=""
while (($#)); do
    case "$1" in
    -h | --help)
        usage
        exit 0
        ;;
    --with-torch-sparse)
        with_torch_sparse=1
        shift
        ;;
    *) break ;;
    esac
done
for argument in "$@"; do
    if [[ "$argument" == --with-torch-sparse ]]; then
        echo "test.sh: error: --with-torch-sparse must come before the arguments of pytest" >&2
        exit 2
    fi
done

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

has_one_of() { python -c 'import importlib.util, sys; sys.exit(not any(map(importlib.util.find_spec, sys.argv[1:])))' "$@"; }

if [[ -n "$with_torch_sparse" ]]; then
    install_torch_sparse
elif ! has_one_of torch_sparse pyg_lib; then
    say "torch-sparse: not installed, so the tests of PyG's own sampler are skipped; --with-torch-sparse compiles it"
fi

# One thread a worker: the tests are small, and several start ranks of their own.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
workers="$(getconf _NPROCESSORS_ONLN)"
workers=$((workers < 8 ? workers : 8))
say "tests: pytest -q -n $workers --dist loadgroup $*"
exec python -m pytest -q -n "$workers" --dist loadgroup "$@" </dev/null
