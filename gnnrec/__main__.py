"""``python -m gnnrec`` and ``torchrun -m gnnrec``: the same commands as ``gnnrec``."""

from gnnrec.cli.main import main

if __name__ == "__main__":
    main()
