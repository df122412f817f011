"""sqlite-vec filters some conditions after the nearest neighbors are chosen, and others once for each value.

Package: sqlite-vec 0.1.9 (apsw 3.54.1.0, SQLite 3.54.1). Seen on 2026-11-29 with Python 3.11 on Linux.
Behavior: the best 10 of 300 movies are asked for, with a condition that more than 10 movies fulfill. Whether it holds
before or after 10 movies are chosen depends on its spelling. ``=``, ``!=``, ``<`` and ``IN`` on a metadata column are
applied before. ``NOT IN`` (seen movies, a year, a partition) and ranges of the primary key are applied after, so a list
is short and misses movies, without an error. ``IN`` and ``OR`` on a partition key give the best 10 of each partition,
which is more than ``k`` and not in order of distance without ``ORDER BY``. ``country != 0`` and ``country NOT IN (0)``,
which mean the same, give different lists.
Output: one line for each condition: the condition, the rows that came, and whether they are the best 10 in order
Matters to: lists of recommendations from exported vectors that leave out what a user has seen.
"""

import subprocess
import sys
import tempfile
import textwrap

PACKAGES = ["apsw==3.54.1.0", "numpy==2.3.5", "sqlite-vec==0.1.9"]
EXPECTED = """\
year != 1990: 10 rows, the best
year NOT IN (1990, 1991): 9 rows, others
year IN (1990, 1991): 10 rows, the best
country = 1: 10 rows, the best
country != 0: 10 rows, the best
country NOT IN (0): 6 rows, others
country IN (1, 2): 20 rows, others
movie IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12): 10 rows, the best
movie NOT IN (97, 85, 198, 202, 241): 5 rows, others
movie >= 200: 3 rows, others"""
PROGRAM = """
    import apsw
    import numpy as np
    import sqlite_vec

    random = np.random.default_rng(0)
    movies = random.normal(size=(300, 4)).astype(np.float32)
    user = random.normal(size=4).astype(np.float32)
    distances = ((movies - user) ** 2).sum(1)
    database = apsw.Connection(":memory:")
    database.enable_load_extension(True)
    database.load_extension(sqlite_vec.loadable_path())
    columns = "movie INTEGER PRIMARY KEY, vector FLOAT[4], country INTEGER PARTITION KEY, year INTEGER"
    database.execute(f"CREATE VIRTUAL TABLE movies USING vec0({columns})")
    database.execute("CREATE TABLE plain (movie, country, year)")
    for movie in range(300):
        country, year = movie % 3, 1990 + movie % 20
        database.execute("INSERT INTO movies VALUES (?, ?, ?, ?)", (movie, movies[movie].tobytes(), country, year))
        database.execute("INSERT INTO plain VALUES (?, ?, ?)", (movie, country, year))
    seen = ", ".join(map(str, np.argsort(distances)[:5]))
    conditions = ["year != 1990", "year NOT IN (1990, 1991)", "year IN (1990, 1991)"]
    conditions += ["country = 1", "country != 0", "country NOT IN (0)", "country IN (1, 2)"]
    conditions += [f"movie IN ({', '.join(map(str, range(1, 13)))})", f"movie NOT IN ({seen})", "movie >= 200"]
    for condition in conditions:
        nearest = f"SELECT movie FROM movies WHERE vector MATCH ? AND k = 10 AND {condition}"
        found = [row[0] for row in database.execute(nearest, (user.tobytes(),))]
        allowed = [row[0] for row in database.execute(f"SELECT movie FROM plain WHERE {condition}")]
        best = sorted(allowed, key=lambda movie: distances[movie])[:10]
        print(f"{condition}: {len(found)} rows, {'the best' if found == best else 'others'}")
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
