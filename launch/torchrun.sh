#!/usr/bin/env bash
# Starts the ranks of one node. launch/slurm.sbatch runs it on every node; without SLURM, run the same command on each.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash launch/torchrun.sh --config FILE [options of train_dist.py ...]
       bash launch/torchrun.sh -m gnnrec.export RUN --out DIR [options ...]

One node needs no variables. On several nodes, run the command on each of them with the same variables:

  NODES            number of nodes that start together (default 1)
  HEAD_HOST        host of the rendezvous, one of the nodes, by a name or address that all nodes can resolve
  RDZV_PORT        free port of that host (default 29400)
  RUN_ID           id of this start, the same on all nodes (default gnnrec)
  MIN_NODES        fewest nodes to continue with when others are lost (default NODES)
  MAX_RESTARTS     most restarts of failed ranks (default 3)
  RANKS_PER_NODE   ranks of each node (default: one for each GPU; without GPUs one for every 8 CPUs)
  OMP_NUM_THREADS  threads of each rank (default: the CPUs divided among the ranks)
  LOG_PREFIX       text before each line of a rank, in which ${rank} is its number (default on several nodes: the name of
                   the node and the rank, as in [node7 12]; on one node, or if it is empty: none)
  GNNREC_VENV      Python environment (default .venv in the repository; bash launch/environment.sh makes it)

If nodes reach each other over the wrong network, set both of these to a network interface, such as eth0. With GPUs both
are needed: NCCL adds up gradients, and gloo carries what the hosts tell each other. If one is set, the other follows:

  NCCL_SOCKET_IFNAME  interface for NCCL; =eth0 is the exact name, eth a prefix, ^docker excludes
  GLOO_SOCKET_IFNAME  interface for gloo, by its exact name (default: the first one that NCCL_SOCKET_IFNAME names)

With GPUs these have defaults, which docs/gpu.md explains:

  TORCH_NCCL_ASYNC_ERROR_HANDLING  0: the ranks themselves report and end a collective whose peer is lost
  NCCL_DEBUG                       WARN: NCCL prints the cause of its errors

With the option --resume auto the ranks resume the run of an earlier start.
On SIGTERM, SIGUSR1 or Ctrl-C they save and stop. The exit code is then 75, and the same command resumes.
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

# interface NAMES: prints the first network interface of this host that the value of NCCL_SOCKET_IFNAME names, if any
interface() {
    local name names path
    [[ "$1" != ^* ]] || return 0
    IFS=, read -ra names <<<"${1#=}"
    for name in "${names[@]}"; do
        for path in "/sys/class/net/$name" "/sys/class/net/$name"*; do
            if [[ -e "$path" ]]; then
                printf '%s' "${path##*/}"
                return 0
            fi
            [[ "$1" != =* ]] || break # not a prefix
        done
    done
}

# number NAME DEFAULT LEAST: prints the value of a variable, which must be a number
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
((nodes == 1)) || [[ -n "${HEAD_HOST:-}" ]] || fail "NODES=$nodes: set HEAD_HOST to the host of the rendezvous"

# Inside a SLURM step only the resources of the step count.
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
    # torch would end ranks with SIGABRT and a trace of C++ before they can print which rank is lost. Without its handling
    # a kernel of NCCL waits, so no number after it is used, and the health monitor of the ranks ends them.
    export TORCH_NCCL_ASYNC_ERROR_HANDLING="${TORCH_NCCL_ASYNC_ERROR_HANDLING:-0}" NCCL_DEBUG="${NCCL_DEBUG:-WARN}"
else
    ranks="$(number RANKS_PER_NODE $((cpus < 16 ? 1 : cpus / 8)) 1)"
    # GPUs outside of the allocation belong to other jobs.
    [[ -n "${RANKS_PER_NODE:-}" || -z "${SLURM_STEP_ID:-}" ]] || export CUDA_VISIBLE_DEVICES=""
fi
[[ -n "${OMP_NUM_THREADS:-}" && -z "${SLURM_STEP_ID:-}" ]] ||
    export OMP_NUM_THREADS=$((cpus > ranks ? cpus / ranks : 1))
# Saving large models takes longer than torchrun's 30 seconds; SLURM's early signal leaves 120.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-100}"

# torchrun reads this variable; launch/stoppable_torchrun.py lets it collect the lines of the ranks.
host="${SLURMD_NODENAME:-$(hostname)}"
# shellcheck disable=SC2016  # torchrun replaces ${rank}
rank='${rank}'
((nodes == 1)) || LOG_PREFIX="${LOG_PREFIX-[$host $rank] }"
if [[ -n "${LOG_PREFIX:-}" ]]; then
    export TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE="$LOG_PREFIX"
else
    unset TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE
fi

options=(--nproc-per-node "$ranks" --max-restarts "$restarts")
if ((nodes == 1)); then
    options+=(--standalone)
    where="this host"
else
    options+=(--nnodes "$least:$nodes" --rdzv-backend c10d --rdzv-endpoint "$HEAD_HOST:$port" --rdzv-id "${RUN_ID:-gnnrec}")
    # The ranks use gloo beside NCCL, and each library has a variable of its own.
    if [[ -n "${NCCL_SOCKET_IFNAME:-}" && -z "${GLOO_SOCKET_IFNAME:-}" ]]; then
        GLOO_SOCKET_IFNAME="$(interface "$NCCL_SOCKET_IFNAME")"
        if [[ -n "$GLOO_SOCKET_IFNAME" ]]; then export GLOO_SOCKET_IFNAME; else unset GLOO_SOCKET_IFNAME; fi
    elif [[ -n "${GLOO_SOCKET_IFNAME:-}" && -z "${NCCL_SOCKET_IFNAME:-}" ]]; then
        export NCCL_SOCKET_IFNAME="=$GLOO_SOCKET_IFNAME"
    fi
    # With a store that outlives the starts, torchrun does not send its address to nodes that join later.
    ((least == nodes)) || export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    # torchrun would have to guess from names whether this is the host of the rendezvous.
    if [[ -n "${HEAD_NODE:-}" ]]; then
        [[ "$SLURMD_NODENAME" == "$HEAD_NODE" ]] && is_host=1 || is_host=0
        options+=(--rdzv-conf "is_host=$is_host")
        # Other nodes may not resolve the name of this host, but they resolve SLURM's name of it.
        if getent hosts "$SLURMD_NODENAME" >/dev/null; then
            options+=(--local-addr "$SLURMD_NODENAME")
        fi
    elif [[ -n "${KUBERNETES_SERVICE_HOST:-}" && "${HEAD_HOST%%.*}" == "$(hostname)" ]]; then
        # A pod may not be able to resolve its own name in a headless service yet.
        options+=(--rdzv-conf "is_host=1")
    fi
    where="$HEAD_HOST:$port"
fi
program=("$@")
[[ "$1" == -m ]] || program=("$root/train_dist.py" "$@")
printf '== %s: %d rank(s) of %d thread(s), %s GPU(s); %d to %d node(s), rendezvous at %s\n' \
    "$host" "$ranks" "$OMP_NUM_THREADS" "$gpus" "$least" "$nodes" "$where"
exec "$gnnrec_python" "$root/launch/stoppable_torchrun.py" "${options[@]}" "${program[@]}"
