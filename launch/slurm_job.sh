#!/usr/bin/env bash
# Common parts of the SLURM jobs: names and logs, one torchrun per node, stopping and requeueing.
# Sourced by launch/*.sbatch, which set root and define a function fail.

# shellcheck source=launch/shared_environment.sh
source "${root:?}/launch/shared_environment.sh"

for command in srun scontrol; do
    command -v "$command" >/dev/null || fail "$command is not in PATH on $(hostname): install SLURM's commands on every node"
done
job="$SLURM_JOB_ID"
task="${SLURM_ARRAY_TASK_ID:-}"
# The number of an array is also the number of one of its tasks, but means all of them.
this_job="${task:+${SLURM_ARRAY_JOB_ID:-$job}_}${task:-$job}"
requeues="${SLURM_RESTART_COUNT:-0}"
name="${SLURM_JOB_NAME:-gnnrec}-$this_job"
logs="${LOGS:-$PWD/logs}/${name//[^[:alnum:]._-]/_}"
received="" # the last signal

say() { printf '== %(%F %T)T %s\n' -1 "$*"; } # a command such as date would be ended by the signal for this shell

# for_this_task WORD ...: sets arguments to these words, with %a replaced by the number of the array task
for_this_task() {
    arguments=("$@")
    if [[ -n "$task" ]]; then
        arguments=("${arguments[@]//%a/$task}")
    fi
}

# address NODE: prints a name or address of the node for other nodes, which cannot always resolve SLURM's name of it
address() {
    local field
    if getent hosts "$1" >/dev/null; then
        printf '%s' "$1"
        return
    fi
    field="$(scontrol show node "$1" | grep -o 'NodeAddr=[^ ]*')" || fail "node $1 cannot be resolved, and SLURM has no address for it"
    printf '%s' "${field#NodeAddr=}"
}

# free_port NODE: prints a free port of the node. Jobs start the search at different ports, below those that Linux
# assigns, so that jobs that search at the same time find different ones, and a requeued job does not find the port of
# its last start, which may still be closing.
free_port() {
    local on_node=()
    [[ "${SLURMD_NODENAME:-}" == "$1" ]] || on_node=(srun --nodes=1 --ntasks=1 --nodelist="$1" --mpi=none)
    ${on_node[@]+"${on_node[@]}"} "$gnnrec_python" - "$((job + 101 * requeues))" <<'PYTHON'
import socket
import sys

for attempt in range(12000):
    port = 20000 + (int(sys.argv[1]) + attempt) % 12000
    with socket.socket() as listener:
        try:
            listener.bind(("", port))
        except OSError:
            continue
    print(port)
    break
else:
    sys.exit("no free port from 20000 to 31999")
PYTHON
}

# run_on_nodes WORD ...: runs launch/torchrun.sh with these words on every node of the job; does not return
run_on_nodes() {
    local head nodes="$SLURM_JOB_NUM_NODES" code=0 srun wait=120
    head="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
    export NODES="$nodes" MIN_NODES="${MIN_NODES:-$nodes}" HEAD_NODE="$head" HEAD_HOST RDZV_PORT RUN_ID="$job-$requeues"
    HEAD_HOST="$(address "$head")"
    RDZV_PORT="$(free_port "$head")" || fail "no free port on $head"
    mkdir -p "$logs" || fail "$logs cannot be made: set LOGS to another directory"
    export GNNREC_STOPPED_FILE="$logs/stopped-$requeues" GNNREC_FINISHED_FILE="$logs/finished-$requeues"
    rm -f "$GNNREC_STOPPED_FILE" "$GNNREC_FINISHED_FILE"
    say "job $this_job on $nodes node(s), $SLURM_JOB_NODELIST, requeued $requeues time(s); logs: $logs/node-*.log"

    options=(--nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --cpu-bind=none --mpi=none --kill-on-bad-exit=0)
    # Since SLURM 22.05 steps do not inherit this from the job.
    [[ -z "${SLURM_CPUS_PER_TASK:-}" ]] || options+=(--cpus-per-task="$SLURM_CPUS_PER_TASK")
    if [[ "$MIN_NODES" -lt "$nodes" ]]; then
        options+=(--no-kill)
        wait=0 # when a node is lost, the others continue
    fi
    srun "${options[@]}" --wait="$wait" --output="$logs/node-%n.log" --open-mode=append \
        bash "$root/launch/torchrun.sh" "$@" &
    srun=$!
    # On SIGTERM srun would kill its tasks; it passes SIGUSR1 on to them.
    trap 'received=USR1; kill -USR1 "$srun" 2>/dev/null || true' USR1
    # SLURM sends SIGTERM to this shell only when it ends the job, and then to the tasks too.
    trap 'received=TERM' TERM
    while wait "$srun" && code=0 || code=$?; kill -0 "$srun" 2>/dev/null; do :; done
    wait "$srun" && code=0 || code=$? # a signal may have ended the wait just before srun ended
    # Nodes that were lost have failed, but the run may have finished.
    [[ ! -e "$GNNREC_FINISHED_FILE" ]] || code=0
    leave "$code"
}

# leave CODE: ends the job, or requeues it after a stop
leave() {
    local code="$1" state log shown=0
    if ((code == 0)); then
        say "finished"
        exit 0
    fi
    if [[ -s "$GNNREC_STOPPED_FILE" ]]; then
        say "$(head -n 1 "$GNNREC_STOPPED_FILE")"
    elif ((code != 75)) && [[ "$received" != USR1 ]]; then
        say "failed with code $code${received:+ after SIG$received}; last lines of the logs:"
        for log in "$logs"/node-*.log; do
            ((shown++ < 4)) && tail -v -n 5 "$log"
        done
        exit "$code"
    fi
    # When SLURM ends the job, its signal may reach this shell a little later than the tasks.
    sleep 2 || true
    state="$(scontrol show job --oneliner "$this_job" | grep -o 'JobState=[A-Z_]*')" || state="unknown"
    if [[ "$received" == TERM || "$state" != JobState=RUNNING ]]; then
        say "SLURM has ended this job; if SLURM does not requeue it, submit it again to resume"
    elif ((requeues >= ${MAX_REQUEUES:-100})); then
        say "requeued $requeues times already (MAX_REQUEUES): submit it again to resume"
    elif scontrol requeue "$this_job"; then
        say "requeued; the next start resumes the run"
    else
        say "SLURM cannot requeue this job: submit it again to resume"
    fi
    exit 75
}
