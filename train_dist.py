"""Trains a GNN recommender on one rank or many.

    torchrun --nproc-per-node 2 train_dist.py --config configs/ml20m_sage.yaml --data PREPARED --run-dir RUNDIR

Every option of the configuration file can be given on the command line too (``--help``).
"""

import sys

from gnnrec.distributed.exit import exit_on_user_error


def main(arguments: list[str]) -> None:
    # Imported here, so that too little memory for the libraries ends in one line too.
    from gnnrec.config.train_config import parse_train_config
    from gnnrec.distributed import process_group
    from gnnrec.training.run import train

    config = parse_train_config(arguments)
    process_group.share_cores()
    with process_group.process_group(config.device) as world:
        train(config, world)


if __name__ == "__main__":
    with exit_on_user_error("train_dist.py"):
        main(sys.argv[1:])
