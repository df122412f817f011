#!/usr/bin/env bash
# FAISS: from an HNSW graph of inner products many vectors cannot be reached, at any search width.
#
# Package: faiss-cpu 1.15.1, numpy 2.3.5, Python 3.11 on Linux. Seen on 2026-11-30.
# Behavior: IndexHNSWFlat with METRIC_INNER_PRODUCT links vectors to those with the highest products, which are long
#   ones. Of 14,000 vectors of 64 columns that fall in size, as those of a factorization do, a search for all of them
#   with efSearch = 14,000 returns about three quarters and -1 for the others, and recall@20 ends below 0.95 however wide
#   the search is. With one more column, sqrt((max |x|^2 - |x|^2) / 2), and 0 there in queries, products are the same,
#   all vectors are reached, and recall@20 is above 0.98 at efSearch = 100.
# Output: inner product: reached 10208 of 14000, recall@20 0.86 at 100, 0.93 at 14000
#         one more column: reached 14000 of 14000, recall@20 0.99 at 100, 1.00 at 14000
# Matters to: the index of gnnrec export (gnnrec/inference/export_index.py), and vector stores with such graphs.
# Exits with 0 if this is still so, with 1 if it has changed.
set -euo pipefail

place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet faiss-cpu==1.15.1 numpy==2.3.5
cat >"$place/graph.py" <<'PYTHON'
import sys

import faiss
import numpy as np

faiss.omp_set_num_threads(1)
random = np.random.default_rng(0)
count, columns = 14_000, 64
sizes = 1 / np.sqrt(np.arange(1, columns + 1, dtype=np.float32))
vectors = random.standard_normal((count, columns), dtype=np.float32) * sizes
queries = random.standard_normal((200, columns), dtype=np.float32) * sizes
best = np.argsort(-(queries @ vectors.T), 1)[:, :20]
squares = (vectors**2).sum(1, keepdims=True)
longer = np.hstack([vectors, np.sqrt((squares.max() - squares) / 2)])
zero = np.zeros((len(queries), 1), np.float32)


def measured(name, rows, asked):
    index = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 64
    index.add(rows)
    recalls = []
    for width in (100, count):
        index.hnsw.efSearch = width
        _, found = index.search(asked, 20)
        recalls.append(np.mean([len(np.intersect1d(*pair)) / 20 for pair in zip(found, best)]))
    _, found = index.search(asked[:1], count)
    reached = int((found >= 0).sum())
    print(f"{name}: reached {reached} of {count}, recall@20 {recalls[0]:.2f} at 100, {recalls[1]:.2f} at {count}")
    return reached, recalls


reached, recalls = measured("inner product", vectors, queries)
unchanged = reached < 0.9 * count and recalls[1] < 0.95
reached, recalls = measured("one more column", longer, np.hstack([queries, zero]))
sys.exit(not (unchanged and reached == count and recalls[0] > 0.98))
PYTHON
"$place/venv/bin/python" "$place/graph.py" || { echo "this has changed" >&2; exit 1; }
