"""The public functions of ``import gnnrec``. Each calls the same code as the command of its name."""
