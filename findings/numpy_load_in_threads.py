"""numpy.load in two threads can raise SystemError on Python 3.11, because it parses headers with ``ast.literal_eval``.

Package: numpy 2.3.5 on Python 3.11.7 (Linux). Seen on 2026-11-29.
Behavior: Python 3.11 counts the depth of a syntax tree that it makes in one place for all threads. While it makes one,
the garbage collector may run finalizers written in Python, and these let another thread run. If that thread makes a
syntax tree too, the first one ends with "SystemError: AST constructor recursion depth mismatch". numpy reads the header
of each .npy file by ``ast.literal_eval``, so loading sound files in threads fails now and then in a program whose
garbage has finalizers; also with ``mmap_mode``. Not seen without finalizers in 300,000 loads, nor with them in as many
on Python 3.12.1 and 3.13.0.
Output: ``SystemError: AST constructor recursion depth mismatch`` within a second; the program waits for up to a minute
Matters to: prepared data, whose arrays are opened before threads check them (gnnrec/data/shard_check.py).
"""

import subprocess
import sys
import tempfile
import textwrap

PACKAGES = ["numpy==2.3.5"]
EXPECTED = "SystemError: AST constructor recursion depth mismatch"
PROGRAM = """
    import time
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np


    class Node:
        # A cycle with a finalizer, which the collector finds.
        def __init__(self):
            self.itself = self

        def __del__(self):
            time.sleep(0)


    def load(path):
        for _ in range(200):
            Node(), Node(), Node()
            np.load(path, mmap_mode="r")


    np.save("a.npy", np.arange(431))
    until, seen = time.monotonic() + 60, "no error"
    while seen == "no error" and time.monotonic() < until:
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(load, "a.npy") for _ in range(2)]:
                if future.exception() is not None:
                    seen = f"{type(future.exception()).__name__}: {future.exception()}"
    print(seen.split(" (")[0])
"""


def main() -> int:
    if sys.version_info[:2] != (3, 11):
        print("this is about Python 3.11: run it with that version", file=sys.stderr)
        return 1
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
