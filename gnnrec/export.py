"""``torchrun -m gnnrec.export RUN --out DIR``: the same as ``gnnrec export``, on many ranks."""

import sys

from gnnrec.cli.main import run_command
from gnnrec.distributed.exit import exit_on_user_error

if __name__ == "gnnrec.export":
    # An imported submodule would take the place of the function of this name in the package.
    raise ImportError("gnnrec.export is a program; in Python, `import gnnrec` and call gnnrec.export(run, out)")

if __name__ == "__main__":
    with exit_on_user_error("gnnrec"):
        run_command(["export", *sys.argv[1:]])
