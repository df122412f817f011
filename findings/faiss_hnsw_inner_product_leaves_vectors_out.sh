#!/usr/bin/env bash
# FAISS: from an HNSW graph of inner products many vectors cannot be reached, and the usual remedy helps or harms.
#
# Package: faiss-cpu 1.15.1, numpy 2.3.5, Python 3.11 on Linux. Seen on 2026-11-30.
# Behavior: IndexHNSWFlat with METRIC_INNER_PRODUCT links vectors to those with the highest products, which are long
#   ones. Of 14,000 normal vectors of 64 columns that fall in size, a search for all of them with efSearch = 14,000
#   returns three quarters and -1 for the others, and recall@20 ends below 0.95 however wide the search is. One more
#   column, sqrt((max |x|^2 - |x|^2) / 2), with 0 in queries, changes no product; with it nearly all are reached, and
#   recall@20 is above 0.98 at efSearch = 100. Where lengths have a long tail (the same vectors times a log-normal
#   factor), fewer are reached, but the long ones are, and these are in the lists: recall is higher without the column.
# Output: normal: reached 10208 of 14000, recall@20 0.86 at 100, 0.93 at 14000; with the column 14000, 0.99, 1.00
#         long tail: reached 4630 of 14000, recall@20 0.97 at 100, 0.99 at 14000; with the column 13995, 0.86, 0.99
# Matters to: the index of gnnrec export (gnnrec/inference/export_index.py), vector stores with such graphs, and
#   benchmarks of indexes with random vectors: they say little of trained ones.
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
normal = random.standard_normal((count, columns), dtype=np.float32) * sizes
queries = random.standard_normal((200, columns), dtype=np.float32) * sizes
tail = normal * np.exp(np.random.default_rng(1).normal(0, 1.2, (count, 1))).astype(np.float32)


def measured(rows, asked, best):
    index = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 64
    index.add(rows)
    recalls = []
    for width in (100, count):
        index.hnsw.efSearch = width
        _, found = index.search(asked, 20)
        recalls.append(np.mean([len(np.intersect1d(*pair)) / 20 for pair in zip(found, best)]))
    _, found = index.search(asked[:1], count)
    return int((found >= 0).sum()), *recalls


seen = {}
for name, vectors in (("normal", normal), ("long tail", tail)):
    best = np.argsort(-(queries @ vectors.T), 1)[:, :20]
    squares = (vectors**2).sum(1, keepdims=True)
    longer = np.hstack([vectors, np.sqrt((squares.max() - squares) / 2)])
    plain = measured(vectors, queries, best)
    column = measured(longer, np.hstack([queries, np.zeros((200, 1), np.float32)]), best)
    seen[name] = plain, column
    print(
        f"{name}: reached {plain[0]} of {count}, recall@20 {plain[1]:.2f} at 100, {plain[2]:.2f} at {count}; "
        f"with the column {column[0]}, {column[1]:.2f}, {column[2]:.2f}"
    )
left_out = all(plain[0] < 0.9 * count < column[0] for plain, column in seen.values())
(plain, column), (of_tail, of_tail_with) = seen["normal"], seen["long tail"]
helps = plain[2] < 0.95 and column[1] > 0.98
harms = of_tail[1] > 0.95 and of_tail_with[1] < of_tail[1] - 0.05
sys.exit(not (left_out and helps and harms))
PYTHON
"$place/venv/bin/python" "$place/graph.py" || { echo "this has changed" >&2; exit 1; }
