"""Polars sums Float16 in 16 bits in ``group_by``, ``arr.sum`` and ``list.sum``, and in 32 in ``Series.sum``.

Package: polars 2.1.0. Seen on 2026-11-29 with Python 3.11 on Linux.
Behavior: ``sum`` of 5,000 ones in a Float16 column is 5000, also in ``select``, ``over``, ``rolling_sum`` and
``cum_sum``. The same expression in ``group_by(...).agg`` gives 2048, with the streaming engine too, and so do
``list.sum`` and ``arr.sum``: each addition is rounded to 11 bits, and from 2048 on adding one changes nothing. Means
are right. The dot product of vectors in Float16 columns, ``(pl.col("vector") * user).arr.sum()``, is far less precise
than with a cast to Float32, and other movies are among the best ten. The documentation of ``sum`` says that 8- and
16-bit integers are cast before summing, and nothing of Float16.
Output: one line for each expression, then how the lists from 16 and 32 bits compare with exact ones
Matters to: exports with ``--dtype float16`` that are scored with Polars. docs/export.md converts to NumPy.
"""

import subprocess
import sys
import tempfile
import textwrap

PACKAGES = ["numpy==2.3.5", "polars==2.1.0"]
EXPECTED = """\
sum 5000, over 5000, rolling_sum 5000, cum_sum 5000
group_by sum 2048, streaming 2048, list.sum 2048, arr.sum 2048
group_by mean 1
lists of 10 that are right: Float16 some, Float32 all"""
PROGRAM = """
    import numpy as np
    import polars as pl

    table = pl.DataFrame({"group": [1] * 5000, "x": np.ones(5000, np.float16)})
    column, groups = pl.col("x"), table.group_by("group")
    whole = {
        "sum": table.select(column.sum()),
        "over": table.select(column.sum().over("group"))[-1],
        "rolling_sum": table.select(column.rolling_sum(5000))[-1],
        "cum_sum": table.select(column.cum_sum())[-1],
    }
    print(", ".join(f"{name} {result.item():.0f}" for name, result in whole.items()))
    parts = {
        "group_by sum": groups.agg(column.sum())["x"],
        "streaming": table.lazy().group_by("group").agg(column.sum()).collect(engine="streaming")["x"],
        "list.sum": groups.agg("x")["x"].list.sum(),
        "arr.sum": pl.Series(np.ones((1, 5000), np.float16)).arr.sum(),
    }
    print(", ".join(f"{name} {result.item():.0f}" for name, result in parts.items()))
    print(f"group_by mean {groups.agg(column.mean())['x'].item():.0f}")

    random = np.random.default_rng(0)
    movies = random.normal(size=(2000, 128)).astype(np.float16)
    users = random.normal(size=(50, 128)).astype(np.float16)
    exact = np.argsort(-(users.astype(np.float64) @ movies.T.astype(np.float64)), 1)[:, :10]
    vectors, right = pl.DataFrame({"vector": movies}), {}
    for name, kind in (("Float16", pl.Array(pl.Float16, 128)), ("Float32", pl.Array(pl.Float32, 128))):
        product = lambda user: (pl.col("vector").cast(kind) * pl.lit(user.tolist(), dtype=kind)).arr.sum()
        scores = [vectors.select(product(user)).to_series().to_numpy() for user in users]
        lists = np.argsort(-np.stack(scores), 1, kind="stable")[:, :10]
        same = np.all(np.sort(lists, 1) == np.sort(exact, 1), 1)
        right[name] = "all" if same.all() else "some" if same.any() else "none"
    print("lists of 10 that are right: " + ", ".join(f"{name} {share}" for name, share in right.items()))
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
