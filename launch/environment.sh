#!/usr/bin/env bash
# Makes, or brings up to date, the Python environment of this repository, and puts it first in PATH.
#
#   bash launch/environment.sh [EXTRA ...]      on its own; --help explains it
#   source launch/environment.sh [EXTRA ...]    from another script

gnnrec_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
gnnrec_venv="${GNNREC_VENV:-$gnnrec_root/.venv}"
gnnrec_constraints="$gnnrec_root/launch/constraints.txt"
gnnrec_done="$gnnrec_venv/gnnrec-installed.txt" # a hash of what was asked for, then a line for each thing installed

say() { printf '== %s\n' "$*"; }

fail() {
    printf '%s: error: %s\n' "$(basename "$0")" "$1" >&2
    exit "${2:-1}"
}

explain_environment() {
    cat <<TEXT
usage: bash launch/environment.sh [EXTRA ...]

Makes, or brings up to date, the Python environment of this repository. An extra adds optional packages:
  $(project_extras | paste -s -d ' ' -)

  GNNREC_VENV    where the environment is (default: .venv in the repository)
  GNNREC_PYTHON  the Python that makes it, 3.10 or newer (default: the first one found)
TEXT
}

project_extras() {
    sed -n '/^\[project.optional-dependencies\]/,/^\[/s/^\([a-z][a-z-]*\) = .*/\1/p' \
        "$gnnrec_root/pyproject.toml"
}

# check_extras WORD ...: refuses words that are not extras, and suggests the extra that was probably meant
check_extras() {
    local word known near
    known="$(project_extras)"
    for word in "$@"; do
        ! grep -qxF -e "$word" <<<"$known" || continue
        # shellcheck disable=SC2086 # a word for each extra
        near="$({ "$(find_python)" -c 'if True:
            import difflib, sys
            near = difflib.get_close_matches(sys.argv[1], sys.argv[2:], n=1, cutoff=0.5)
            print(*(f" (did you mean {word}?)" for word in near))' "$word" $known; } 2>/dev/null)" || near=""
        fail "$word is not an extra of pyproject.toml$near: choose from ${known//$'\n'/, }" 2
    done
}

find_python() {
    local candidate
    for candidate in ${GNNREC_PYTHON:+"$GNNREC_PYTHON"} python3 python3.13 python3.12 python3.11 python3.10 python; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
        [[ -z "${GNNREC_PYTHON:-}" ]] || fail "GNNREC_PYTHON=$GNNREC_PYTHON is not Python 3.10 or newer with venv" 2
    done
    fail "no Python 3.10 or newer with venv here: install one, or name it in GNNREC_PYTHON" 2
}

# quietly LOG COMMAND ...: the command's output goes to the log, which is shown if the command fails
quietly() {
    local log="$1"
    shift
    if ! "$@" >>"$log" 2>&1 </dev/null; then
        tail -n 40 "$log" >&2
        fail "failed: $* (all of its output: $log)"
    fi
}

is_installed() { grep -qxF "$1" "$gnnrec_done" 2>/dev/null; }

wanted_hash() {
    {
        printf '%s\n' "$gnnrec_root"
        cat "$gnnrec_root/pyproject.toml" "$gnnrec_constraints"
    } | "$gnnrec_venv/bin/python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

make_environment() {
    local log="$gnnrec_venv/gnnrec-install.log" extras hash extra missing=()
    if [[ ! -x "$gnnrec_venv/bin/python" ]] || ! "$gnnrec_venv/bin/python" -c 'import pip' 2>/dev/null; then
        local python
        python="$(find_python)" || exit
        say "environment: $python -m venv $gnnrec_venv"
        mkdir -p "$gnnrec_venv" || fail "$gnnrec_venv cannot be made: name another place in GNNREC_VENV" 2
        quietly "$log" "$python" -m venv "$gnnrec_venv"
    fi
    "$gnnrec_venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "the Python in $gnnrec_venv is older than 3.10: name another place in GNNREC_VENV" 2
    hash="$(wanted_hash)"
    if ! is_installed "$hash"; then
        rm -f "$gnnrec_done"
    fi
    for extra in "" "$@"; do
        is_installed "gnnrec[$extra]" || missing+=("$extra")
    done
    if ((${#missing[@]})); then
        extras="$(IFS=, && printf '%s' "$*")"
        say "environment: pip install -c launch/constraints.txt -e .${extras:+[$extras]} (minutes the first time)"
        : >"$log"
        quietly "$log" "$gnnrec_venv/bin/python" -m pip install --no-input --disable-pip-version-check \
            -c "$gnnrec_constraints" -e "$gnnrec_root${extras:+[$extras]}"
        [[ -e "$gnnrec_done" ]] || printf '%s\n' "$hash" >"$gnnrec_done"
        for extra in "${missing[@]}"; do
            printf 'gnnrec[%s]\n' "$extra" >>"$gnnrec_done"
        done
    fi
    export PATH="$gnnrec_venv/bin:$PATH"
}

if [[ "${BASH_SOURCE[0]}" == "$0" ]]; then
    set -euo pipefail
    for gnnrec_word in "$@"; do
        if [[ "$gnnrec_word" == -h || "$gnnrec_word" == --help ]]; then
            explain_environment
            exit 0
        fi
    done
fi
check_extras "$@"
make_environment "$@"
