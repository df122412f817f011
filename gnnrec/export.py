"""``torchrun -m gnnrec.export RUN --out DIR``: the same as ``gnnrec export``, on many ranks."""

import sys

from gnnrec.cli.main import run_command
from gnnrec.distributed.exit import exit_on_user_error

if __name__ == "__main__":
    with exit_on_user_error("gnnrec"):
        run_command(["export", *sys.argv[1:]])
