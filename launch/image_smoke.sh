#!/usr/bin/env bash
# Checks an image of the Dockerfile in about a minute: ratings, training on all GPUs or on two ranks, an export, movies.
#     docker run --rm -i --gpus all --ipc host gnnrec bash -s < launch/image_smoke.sh
# Without --gpus all everything runs on the CPU.
set -euo pipefail

gpus="$(python -c 'import torch; print(torch.cuda.device_count())')"
cd "$(mktemp -d)"
gnnrec synth ratings --users 300 --movies 100 --ratings 6000
gnnrec prepare data --ratings ratings/ratings.csv --movies ratings/movies.csv
torchrun --standalone --nproc-per-node "$((gpus > 0 ? gpus : 2))" /opt/gnnrec/train_dist.py \
    --config /opt/gnnrec/configs/ml20m_full.yaml --data data --run-dir run --max-steps 6 \
    --model.dim 16 --baselines false --wandb.mode disabled
gnnrec evaluate run
gnnrec export run --out export
gnnrec recommend export --user 1
gnnrec recommend run --all true --out lists
echo "the image works: $gpus GPUs"
