#!/usr/bin/env bash
# Starts the ranks of one node. On clusters without SLURM: the same command on every node. launch/slurm.sbatch does that.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash launch/torchrun.sh --config FILE [options of train_dist.py ...]
       bash launch/torchrun.sh -m gnnrec.export RUN --out DIR [options ...]

On one node nothing else is needed. On several, run it on each of them with the same variables:

  NODES            how many nodes start together (default 1)
  HEAD_HOST        the host at which they meet, one of them, by a name or address that all know
  RDZV_PORT        a free port of that host (default 29400)
  RUN_ID           a name of this start, the same on all nodes (default gnnrec)
  MIN_NODES        go on with so few when nodes are lost (default NODES: all are needed)
  MAX_RESTARTS     how often ranks that failed are started again (default 3)
  RANKS_PER_NODE   default: one for each GPU; without GPUs one for every 8 CPUs
  OMP_NUM_THREADS  default: the CPUs divided among the ranks
  GNNREC_VENV      the Python environment (default .venv in the repository; bash launch/environment.sh makes it)

The ranks resume what an earlier start left if their options say --resume auto.
SIGTERM, SIGUSR1 or Ctrl-C make them save and stop. Then the exit code is 75, and the same command goes on.
TEXT
}

fail() {
    printf 'torchrun.sh: error: %s\n' "$1" >&2
    exit 2
}

case "${1:-}" in
-h | --help)
    usage
    exit 0
    ;;
"") fail "nothing to run: bash launch/torchrun.sh --config FILE [options of train_dist.py], or --help" ;;
esac

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=launch/shared_environment.sh
source "$root/launch/shared_environment.sh"

# number NAME DEFAULT LEAST: the value of a variable, which must be a number
number() {
    local value="${!1:-$2}"
    if [[ ! "$value" =~ ^[0-9]{1,6}$ ]] || ((10#$value < $3)); then
        fail "$1=$value: must be a number, $3 or more"
    fi
    printf '%d' "$((10#$value))"
}

nodes="$(number NODES 1 1)"
least="$(number MIN_NODES "$nodes" 1)"
port="$(number RDZV_PORT 29400 1)"
restarts="$(number MAX_RESTARTS 3 0)"
((least <= nodes)) || fail "MIN_NODES=$least is more than NODES=$nodes"
((nodes == 1)) || [[ -n "${HEAD_HOST:-}" ]] || fail "NODES=$nodes: name the host at which they meet in HEAD_HOST"

# Inside a SLURM step only what it was given counts.
if [[ -n "${SLURM_STEP_ID:-}" ]]; then
    cpus="${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}"
    gpus="${SLURM_GPUS_ON_NODE:-0}"
else
    cpus="$(env -u OMP_NUM_THREADS nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
    gpus=0
    if [[ -n "${CUDA_VISIBLE_DEVICES+set}" ]]; then
        IFS=, read -ra devices <<<"$CUDA_VISIBLE_DEVICES"
        gpus=${#devices[@]}
    elif command -v nvidia-smi >/dev/null; then
        gpus="$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU')" || true
    fi
fi
if ((gpus > 0)); then
    ranks="$(number RANKS_PER_NODE "$gpus" 1)"
else
    ranks="$(number RANKS_PER_NODE $((cpus < 16 ? 1 : cpus / 8)) 1)"
    # GPUs that are there but not in the allocation belong to others.
    [[ -n "${RANKS_PER_NODE:-}" || -z "${SLURM_STEP_ID:-}" ]] || export CUDA_VISIBLE_DEVICES=""
fi
[[ -n "${OMP_NUM_THREADS:-}" && -z "${SLURM_STEP_ID:-}" ]] ||
    export OMP_NUM_THREADS=$((cpus > ranks ? cpus / ranks : 1))
# Ranks that save need longer than torchrun's 30 seconds on large models; SLURM's early signal leaves 120.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-100}"

options=(--nproc-per-node "$ranks" --max-restarts "$restarts")
if ((nodes == 1)); then
    options+=(--standalone)
    where="this host"
else
    options+=(--nnodes "$least:$nodes" --rdzv-backend c10d --rdzv-endpoint "$HEAD_HOST:$port" --rdzv-id "${RUN_ID:-gnnrec}")
    # With a store that outlives the starts, torchrun does not tell a node that joins later where to find it.
    ((least == nodes)) || export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    # torchrun would have to guess from names whether this is the host at which all meet.
    if [[ -n "${HEAD_NODE:-}" ]]; then
        [[ "$SLURMD_NODENAME" == "$HEAD_NODE" ]] && is_host=1 || is_host=0
        options+=(--rdzv-conf "is_host=$is_host")
        # Nor whether others can resolve what this host calls itself; what SLURM calls it they can.
        if getent hosts "$SLURMD_NODENAME" >/dev/null; then
            options+=(--local-addr "$SLURMD_NODENAME")
        fi
    fi
    where="$HEAD_HOST:$port"
fi
program=("$@")
[[ "$1" == -m ]] || program=("$root/train_dist.py" "$@")
printf '== %s: %d rank(s) of %d thread(s), %s GPU(s); %d to %d node(s) meet at %s\n' \
    "${SLURMD_NODENAME:-$(hostname)}" "$ranks" "$OMP_NUM_THREADS" "$gpus" "$least" "$nodes" "$where"
exec "$gnnrec_python" "$root/launch/stoppable_torchrun.py" "${options[@]}" "${program[@]}"
