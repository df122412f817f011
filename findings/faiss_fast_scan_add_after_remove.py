"""FAISS writes wrong codes where vectors are added to an ``IVF...,PQ...x4fs`` index after ``remove_ids``.

Package: faiss-cpu 1.15.1. Seen on 2026-11-29 with Python 3.11 on Linux.
Behavior: ``remove_ids`` leaves the codes of removed vectors in the last block of each list, and the next
``add_with_ids`` combines new codes with these bits. No error is raised, ``ntotal`` and the ids are right, but vectors
are stored wrong, and searches rank by wrong scores. A delta (remove 20 movies, add the same 20 again with equal
vectors, until each movie had its turn) must change nothing. It changes nothing with ``IVF16,PQ16x4``. With
``IVF16,PQ16x4fs``, the same quantizer in another layout, it changes most vectors, and half or more of the recall is
lost. ``IVF16,RaBitQfs`` loses recall too. Adding without removing, and removing without adding, are right.
Output: ``IVF16,PQ16x4: 2000 movies, no vectors differ, same lists``, then ``IVF16,PQ16x4fs: 2000 movies, most vectors
differ, half of recall lost``
Matters to: indexes that follow a growing dataset. ``gnnrec export`` writes flat and HNSW indexes, built anew each time.
"""

import subprocess
import sys
import tempfile
import textwrap

PACKAGES = ["faiss-cpu==1.15.1", "numpy==2.3.5", "packaging==26.4"]
EXPECTED = """\
IVF16,PQ16x4: 2000 movies, no vectors differ, same lists
IVF16,PQ16x4fs: 2000 movies, most vectors differ, half of recall lost"""
PROGRAM = """
    import faiss
    import numpy as np

    faiss.omp_set_num_threads(1)
    random = np.random.default_rng(0)
    movies = random.normal(size=(2000, 32)).astype(np.float32)
    users = random.normal(size=(100, 32)).astype(np.float32)
    ids = np.arange(2000)
    best = np.argsort(-(users @ movies.T), 1)[:, :10]


    def vectors(index):
        stored = np.zeros_like(movies)
        for part in range(index.nlist):
            size = index.invlists.list_size(part)
            for place, movie in enumerate(faiss.rev_swig_ptr(index.invlists.get_ids(part), size).copy()):
                index.reconstruct_from_offset(part, place, faiss.swig_ptr(stored[movie]))
        return stored


    def lists(index):
        index.nprobe = index.nlist
        return index.search(users, 10)[1]


    def recall(index):
        return np.mean([len(set(mine) & set(exact)) / 10 for mine, exact in zip(lists(index), best)])


    for name in ("IVF16,PQ16x4", "IVF16,PQ16x4fs"):
        once = faiss.index_factory(32, name, faiss.METRIC_INNER_PRODUCT)
        once.train(movies)
        again = faiss.clone_index(once)
        once.add_with_ids(movies, ids)
        again.add_with_ids(movies, ids)
        for first in range(0, 2000, 20):
            delta = slice(first, first + 20)
            assert again.remove_ids(ids[delta]) == 20
            again.add_with_ids(movies[delta], ids[delta])
        differ = np.abs(vectors(once) - vectors(again)).max(1) > 1e-5
        lost = 1 - recall(again) / recall(once)
        print(f"{name}: {again.ntotal} movies,", end=" ")
        print("most" if differ.mean() > 0.5 else "some" if differ.any() else "no", "vectors differ,", end=" ")
        print("half of recall lost" if lost > 0.5 else "same lists" if lost == 0 else f"{lost:.0%} of recall lost")
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
