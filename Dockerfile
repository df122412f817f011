# An image for clusters with NVIDIA GPUs; docs/architecture.md says how to use it. The torch of the base image is kept,
# and must be that of launch/constraints.txt.
ARG TORCH=2.13.0
ARG CUDA=12.8
FROM pytorch/pytorch:${TORCH}-cuda${CUDA}-cudnn9-runtime

# Triton compiles a small C file for each kernel when it is first used.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/gnnrec
COPY pyproject.toml README.md LICENSE train_dist.py ./
COPY launch launch
COPY configs configs
COPY gnnrec gnnrec
# The image is the environment: nothing else has to be kept apart from it.
RUN PIP_BREAK_SYSTEM_PACKAGES=1 python -m pip install --no-cache-dir -c launch/constraints.txt ".[wandb,tune]"

# Compiled loops are kept where any user may write.
RUN useradd --create-home --uid 1000 --non-unique gnnrec \
    && mkdir -m 1777 /var/cache/gnnrec /work
ENV NUMBA_CACHE_DIR=/var/cache/gnnrec/numba \
    TRITON_CACHE_DIR=/var/cache/gnnrec/triton \
    XDG_CACHE_HOME=/var/cache/gnnrec
USER gnnrec
WORKDIR /work
CMD ["gnnrec", "--help"]
