"""What ``import gnnrec`` offers to notebooks and scripts. Every function calls what the command of its name calls."""
