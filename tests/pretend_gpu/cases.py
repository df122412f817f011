"""Configurations whose steps are compared on the pretend GPU and on the CPU."""

from __future__ import annotations

#: Steps of each case.
STEPS = 3
#: Sizes for a small dataset; fan-outs are below most degrees.
SMALL = ["--model.dim=8", "--loader.seed_users=11", "--loader.movies_per_user=4", "--loader.raters_per_movie=3"]
#: The change since the start of a pass is summed on GPUs, and both of its sides on CPUs: bfloat16 rounds other numbers.
EXACT = ["--loader.control_variate=false"]
#: Fan-outs above all degrees.
WHOLE = ["--loader.movies_per_user=1000", "--loader.raters_per_movie=1000"]
#: Published configurations, and options that change how a batch is made.
CASES = {
    "sage": ["--config=configs/ml20m_sage.yaml"],
    "gcn": ["--config=configs/ml20m_gcn.yaml"],
    "gat": ["--config=configs/ml20m_gat.yaml"],
    "fewer draws than users": ["--config=configs/ml20m_gat.yaml", "--loader.raters_per_movie=1", "--model.layers=2"],
    "two layers": ["--config=configs/ml20m_sage.yaml", "--model.layers=2"],
    "no control variate": ["--config=configs/ml20m_gcn.yaml", "--model.layers=2", "--loader.control_variate=false"],
    "whole neighborhoods": ["--config=configs/ml20m_sage.yaml", *WHOLE],
    "PyG's sampler": ["--config=configs/ml20m_sage.yaml", *WHOLE, "--loader.sampler=pyg"],
    "MLP head": ["--config=configs/ml20m_sage.yaml", "--model.head=mlp"],
    "message tables in bfloat16": ["--config=configs/ml20m_gcn.yaml", *EXACT, "--model.message_tables=bf16"],
    "rows on the host": ["--config=configs/ml20m_sage.yaml", "--user_rows=host"],
    "active movies": ["--config=configs/ml20m_gat.yaml", "--loader.movie_rows=active"],
}
