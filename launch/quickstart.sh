#!/usr/bin/env bash
# Runs everything on this machine: environment, data, training on two ranks, export, recommendations, a report.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash launch/quickstart.sh [OPTION ...]

Without a data option it generates 600,000 synthetic ratings from a known model.

  --ratings FILE   use your own ratings (CSV or Parquet: a user, a movie and a rating in each row)
  --movies FILE    use titles and genres from this file
  --dataset NAME   download a MovieLens dataset: ml-latest-small, ml-1m, ml-10m, ml-20m, ml-25m or ml-32m
  --user ID        recommend movies to this user (default: the one with the most typical mean rating)
  --ranks N        train with this number of processes (default 2)
  --out DIR        write all files here (default quickstart); files of an earlier quickstart are replaced
TEXT
}

wrong() {
    printf 'quickstart.sh: error: %s\n' "$1" >&2
    exit 2
}

ratings="" movies="" dataset="" user="" ranks=2 out=""
while (($#)); do
    case "$1" in
    -h | --help)
        usage
        exit 0
        ;;
    --ratings=* | --movies=* | --dataset=* | --user=* | --ranks=* | --out=*)
        option="${1%%=*}" value="${1#*=}"
        shift
        ;;
    --ratings | --movies | --dataset | --user | --ranks | --out)
        (($# > 1)) || wrong "$1 needs a value"
        option="$1" value="$2"
        shift 2
        ;;
    *) wrong "$1 is not an option: choose --ratings, --movies, --dataset, --user, --ranks or --out" ;;
    esac
    [[ -n "$value" ]] || wrong "$option needs a value"
    declare "${option#--}=$value"
done
[[ -z "$ratings" || -z "$dataset" ]] || wrong "give either --ratings or --dataset"
[[ -z "$movies" || -n "$ratings" ]] || wrong "--movies $movies belongs to --ratings, which is missing"
[[ -z "$ratings" || -e "$ratings" ]] || wrong "--ratings $ratings: there is no such file"
[[ -z "$movies" || -f "$movies" ]] || wrong "--movies $movies: there is no such file"
[[ "$ranks" =~ ^[1-9][0-9]{0,3}$ ]] || wrong "--ranks $ranks: must be a number, 1 or more"

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
here() { # prints a path relative to the repository
    if [[ "$1" == /* || "$PWD" == "$root" ]]; then printf '%s' "$1"; else printf '%s' "$PWD/$1"; fi
}
[[ -z "$ratings" ]] || ratings="$(here "$ratings")"
[[ -z "$movies" ]] || movies="$(here "$movies")"
if [[ -n "$out" ]]; then out="$(here "$out")"; else out=quickstart; fi
cd "$root"

# shellcheck source=launch/environment.sh
source launch/environment.sh wandb report

began=$SECONDS
stage() {
    local name="$1"
    shift
    say "$name: $*"
    "$@"
}

cores="$(getconf _NPROCESSORS_ONLN)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > ranks ? cores / ranks : 1))}"

source=(--ratings "$ratings")
if [[ -n "$dataset" ]]; then
    source=(--dataset "$dataset")
elif [[ -z "$ratings" ]]; then
    stage "synthetic ratings" gnnrec synth "$out/ratings" --users 6000 --movies 3000 --ratings 600000 --overwrite
    source=(--ratings "$out/ratings/ratings.csv")
elif [[ -n "$movies" ]]; then
    source+=(--movies "$movies")
fi
stage "prepare" gnnrec prepare "$out/data" "${source[@]}" --overwrite
stage "train" torchrun --standalone --nproc-per-node "$ranks" train_dist.py \
    --data "$out/data" --run-dir "$out/run" --overwrite
stage "export" torchrun --standalone --nproc-per-node "$ranks" -m gnnrec.export "$out/run" \
    --out "$out/export" --overwrite
if [[ -z "$user" ]]; then # the user whose mean rating is nearest to the mean of all ratings
    user="$(
        python - "$out/data" <<'PYTHON'
import sys

import numpy as np
from gnnrec.data.prepared import PreparedDataset

data = PreparedDataset(sys.argv[1])
means = np.add.reduceat(data.rating, data.user_ptr[:-1]) / np.diff(data.user_ptr)
print(data.users["user"].iloc[np.abs(means - data.rating.mean()).argmin()])
PYTHON
    )"
fi
stage "recommend" gnnrec recommend "$out/run" --user "$user"
stage "report" gnnrec report "$out/run"

say "done in $((SECONDS - began)) s"
synthetic=""
[[ -n "$ratings$dataset" ]] || synthetic="$out/ratings/floor.json"
python - "$out/run/summary.json" "$synthetic" <<'PYTHON'
import json
import sys

with open(sys.argv[1]) as file:
    summary = json.load(file)
names = "test_rmse_without_time", "test_rmse", "test_mae"
rows = [(name, *(row[metric] for metric in names)) for name, row in summary["baselines"].items()]
rows.append(("this model", *(summary[metric] for metric in names)))
if sys.argv[2]:
    with open(sys.argv[2]) as file:
        floor = json.load(file)["floor"]
    rows.append(("best possible", floor["rmse"], floor["rmse"], floor["mae"]))
print(f"{'':16}test RMSE without time  test RMSE  test MAE")
for name, without_time, rmse, mae in rows:
    print(f"{name:16}{without_time:22.4f}  {rmse:9.4f}  {mae:8.4f}")
PYTHON
printf 'data: %s/data   run: %s/run   embeddings: %s/export\n' "$out" "$out" "$out"
printf 'open in a browser: %s/run/report/report.html\n' "$out"
