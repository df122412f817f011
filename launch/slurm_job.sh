#!/usr/bin/env bash
# What the jobs of SLURM have in common: where they are, one torchrun a node, stopping and coming back.
# Sourced by launch/*.sbatch, which set root and have a function fail.

# shellcheck source=launch/shared_environment.sh
source "${root:?}/launch/shared_environment.sh"

for needed in srun scontrol; do
    command -v "$needed" >/dev/null || fail "$needed is not in PATH on $(hostname): SLURM's commands are needed on every node"
done
job="$SLURM_JOB_ID"
task="${SLURM_ARRAY_TASK_ID:-}"
# The number of an array is also that of one of its tasks, and would mean all of them.
this_job="${task:+${SLURM_ARRAY_JOB_ID:-$job}_}${task:-$job}"
requeues="${SLURM_RESTART_COUNT:-0}"
name="${SLURM_JOB_NAME:-gnnrec}-$this_job"
logs="${LOGS:-$PWD/logs}/${name//[^[:alnum:]._-]/_}"
told="" # the last signal that came

say() { printf '== %(%F %T)T %s\n' -1 "$*"; } # a command such as date would be ended by the signal for this shell

# for_this_task WORD ...: sets arguments to these words, with the number of the array task for %a
for_this_task() {
    arguments=("$@")
    if [[ -n "$task" ]]; then
        arguments=("${arguments[@]//%a/$task}")
    fi
}

# address NODE: a name or an address with which other nodes reach it; SLURM's own name of it need not be one
address() {
    local found
    if getent hosts "$1" >/dev/null; then
        printf '%s' "$1"
        return
    fi
    found="$(scontrol show node "$1" | grep -o 'NodeAddr=[^ ]*')" || fail "node $1 cannot be resolved, and SLURM has no address of it"
    printf '%s' "${found#NodeAddr=}"
}

# free_port NODE: a port that nobody has there. Jobs begin to look at different places, and below the ports that Linux
# hands out, so that two jobs which look at the same time do not find the same one; nor does a job that comes back find
# the port of its last start, which may still be closing.
free_port() {
    local there=()
    [[ "${SLURMD_NODENAME:-}" == "$1" ]] || there=(srun --nodes=1 --ntasks=1 --nodelist="$1" --mpi=none)
    ${there[@]+"${there[@]}"} "$gnnrec_python" - "$((job + 101 * requeues))" <<'PYTHON'
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

# run_on_nodes WORD ...: launch/torchrun.sh with these words on every node of the job; does not return
run_on_nodes() {
    local head nodes="$SLURM_JOB_NUM_NODES" code=0 srun wait=120
    head="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
    export NODES="$nodes" MIN_NODES="${MIN_NODES:-$nodes}" HEAD_NODE="$head" HEAD_HOST RDZV_PORT RUN_ID="$job-$requeues"
    HEAD_HOST="$(address "$head")"
    RDZV_PORT="$(free_port "$head")" || fail "no free port on $head"
    mkdir -p "$logs" || fail "$logs cannot be made: name another place in LOGS"
    export GNNREC_STOPPED_FILE="$logs/stopped-$requeues" GNNREC_FINISHED_FILE="$logs/finished-$requeues"
    rm -f "$GNNREC_STOPPED_FILE" "$GNNREC_FINISHED_FILE"
    say "job $this_job on $nodes node(s), $SLURM_JOB_NODELIST, requeued $requeues time(s); logs: $logs/node-*.log"

    options=(--nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --cpu-bind=none --mpi=none --kill-on-bad-exit=0)
    # Since SLURM 22.05 steps do not take this over from the job by themselves.
    [[ -z "${SLURM_CPUS_PER_TASK:-}" ]] || options+=(--cpus-per-task="$SLURM_CPUS_PER_TASK")
    if [[ "$MIN_NODES" -lt "$nodes" ]]; then
        options+=(--no-kill)
        wait=0 # when a node is lost, the others go on
    fi
    srun "${options[@]}" --wait="$wait" --output="$logs/node-%n.log" --open-mode=append \
        bash "$root/launch/torchrun.sh" "$@" &
    srun=$!
    # SIGTERM would make srun kill its tasks; SIGUSR1 it passes on to them.
    trap 'told=USR1; kill -USR1 "$srun" 2>/dev/null || true' USR1
    # To this shell SLURM sends SIGTERM only when it ends the job, and then also to the tasks.
    trap 'told=TERM' TERM
    while wait "$srun" && code=0 || code=$?; kill -0 "$srun" 2>/dev/null; do :; done
    wait "$srun" && code=0 || code=$? # a signal may have ended the wait just before srun ended
    # Nodes that were lost on the way have failed, and the run need not have.
    [[ ! -e "$GNNREC_FINISHED_FILE" ]] || code=0
    leave "$code"
}

# leave CODE: the end of the job, or its way back into the queue
leave() {
    local code="$1" state log shown=0
    if ((code == 0)); then
        say "finished"
        exit 0
    fi
    if [[ -s "$GNNREC_STOPPED_FILE" ]]; then
        say "$(head -n 1 "$GNNREC_STOPPED_FILE")"
    elif ((code != 75)) && [[ "$told" != USR1 ]]; then
        say "failed with code $code${told:+ after SIG$told}; the ends of the logs:"
        for log in "$logs"/node-*.log; do
            ((shown++ < 4)) && tail -v -n 5 "$log"
        done
        exit "$code"
    fi
    # When SLURM ends the job by itself, its signal may come here a little later than to the tasks.
    sleep 2 || true
    state="$(scontrol show job --oneliner "$this_job" | grep -o 'JobState=[A-Z_]*')" || state="unknown"
    if [[ "$told" == TERM || "$state" != JobState=RUNNING ]]; then
        say "SLURM has ended this job; if it does not come back by itself, submit the same again to go on"
    elif ((requeues >= ${MAX_REQUEUES:-100})); then
        say "requeued $requeues times already (MAX_REQUEUES): submit the same again to go on"
    elif scontrol requeue "$this_job"; then
        say "requeued; the next start goes on from here"
    else
        say "SLURM does not requeue this job: submit the same again to go on"
    fi
    exit 75
}
