"""implicit's ``precision`` at K is neither precision nor a mean over users.

Package: implicit 0.7.3. Seen on 2026-11-29 with Python 3.11 on Linux.
Behavior: ``implicit.evaluation.ranking_metrics_at_k`` and ``precision_at_k`` divide the relevant items found for all
users together by the sum of ``min(K, relevant items)`` over users. Two users, K = 3, one relevant item found for each,
of one and of three: precision is 1/3 for both, recall over ``min(K, relevant)`` is 1 and 1/3 with a mean of 2/3, and
implicit gives 2/4. ``map`` and ``ndcg`` of the same call are means over users.
Output: ``precision 0.5000 map 0.6667 ndcg 0.7346``
Matters to: published figures named precision@K next to ``gnnrec evaluate --k``.
"""

import subprocess
import sys
import tempfile
import textwrap

PACKAGES = ["implicit==0.7.3", "numpy==2.3.5", "scipy==1.16.3", "threadpoolctl==3.6.0", "tqdm==4.67.1"]
EXPECTED = "precision 0.5000 map 0.6667 ndcg 0.7346"
PROGRAM = """
    import numpy as np
    from implicit.evaluation import ranking_metrics_at_k
    from scipy.sparse import csr_matrix


    class Ranked:
        def recommend(self, users, user_items, N=10, **options):
            return np.array([[4, 5, 6] for _ in users], np.int32)[:, :N], np.zeros((len(users), N))


    liked = csr_matrix(np.array([[0, 0, 0, 0, 1, 0, 0], [1, 1, 0, 0, 1, 0, 0]], float))
    found = ranking_metrics_at_k(Ranked(), csr_matrix((2, 7)), liked, K=3, show_progress=False)
    print(" ".join(f"{name} {found[name]:.4f}" for name in ("precision", "map", "ndcg")))
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--target", folder, *PACKAGES]
        subprocess.run(install, check=True)
        # -I and -S leave out all packages but Python's own; the others come from the folder.
        words = [sys.executable, "-IS", "-c", f"import sys; sys.path.insert(0, {folder!r})\n{textwrap.dedent(PROGRAM)}"]
        result = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=600)
    seen = (result.stdout + result.stderr).strip()
    print(seen)
    if seen == EXPECTED:
        return 0
    print(f"changed; it was: {EXPECTED}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
