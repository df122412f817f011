"""PyG's ``NormalizeFeatures`` subtracts the smallest value of all rows before it divides a row by its sum.

Package: torch-geometric 2.8.1 with torch 2.13.0. Seen on 2026-11-29 with Python 3.11 on Linux.
Behavior: the documentation says that rows are normalized to sum up to one. The smallest value of the whole matrix is
subtracted first, so a row depends on the others. For features without negative values the minimum is mostly 0, and
nothing shows. With negative ones (titles reduced by SVD, standardized years, sentence vectors) one new movie with a
small value changes the features of every movie, and the same movie has other features alone, as it has when only new
movies are computed. A movie without features, all zeros, gets equal positive values instead. A sum below one is not
scaled up: the divisor is at least 1.
Output: the first movie's features alone, among old movies, and after one new movie came; then a movie without features,
and one with a sum below one
Matters to: features of movies and of users, computed in one run and again for those that are new.
"""

import subprocess
import sys
import tempfile
import textwrap

PACKAGES = ["numpy==2.3.5", "torch==2.13.0", "torch-geometric==2.8.1"]
EXPECTED = """\
first movie alone: [0.69, 0.0, 0.31]
first movie among old movies: [0.48, 0.19, 0.32]
first movie after a new one: [0.35, 0.32, 0.33]
movie without features: [0.33, 0.33, 0.33]
positive features with a small sum: [0.1, 0.2, 0.0]"""
PROGRAM = """
    import torch
    from torch_geometric.data import Data
    from torch_geometric.transforms import NormalizeFeatures


    def normalized(*rows):
        return NormalizeFeatures()(Data(x=torch.tensor(rows)))["x"].mul(100).round().div(100).tolist()


    first, old, empty, new = [0.5, -0.4, 0.0], [-1.0, 1.0, 0.5], [0.0, 0.0, 0.0], [-9.0, 0.0, 1.0]
    show = lambda row: [round(value, 2) for value in row]
    print("first movie alone:", show(normalized(first)[0]))
    print("first movie among old movies:", show(normalized(first, old, empty)[0]))
    print("first movie after a new one:", show(normalized(first, old, empty, new)[0]))
    print("movie without features:", show(normalized(first, old, empty)[2]))
    print("positive features with a small sum:", show(normalized([0.1, 0.2, 0.0])[0]))
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
