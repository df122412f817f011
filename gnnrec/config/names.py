"""Names of options: short ones, British ones, and those of other programs, each with the option that is meant.

Options are written with dashes on the command line (``--loader.seed-users``) and with underscores in YAML files and in
the tables here (``loader.seed_users``). The command line accepts both.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from gnnrec.utils.option_names import dashed

#: Short name on the command line -> the options that it sets. ``run`` is not called so in full because torchrun, on
#: Python before 3.12, takes ``--run`` for its own ``--run-path`` wherever it stands.
ALIASES: dict[str, tuple[str, ...]] = {
    "run": ("run_dir",),
    "epochs": ("optimizer.epochs",),
    "lr": ("optimizer.lr",),
    "warmup_steps": ("optimizer.warmup_steps",),
    "batch_users": ("loader.seed_users",),
    "num_neighbors": ("loader.movies_per_user", "loader.raters_per_movie"),
    "folds": ("loader.folds",),
    "architecture": ("model.architecture",),
    "layers": ("model.layers",),
}

#: Spellings that are accepted on the command line and in YAML files -> those of the options.
SPELLINGS = {
    "regularisation": "regularization",
    "optimiser": "optimizer",
    "neighbours": "neighbors",
}

_RANKS = "start one rank for each GPU: torchrun --nproc-per-node N -m gnnrec train ..."
#: Names that other programs have for an option -> the option, or what to do instead. They are suggested, not accepted.
#: Where a program has none of the options nothing is suggested; of several it has, all are.
SYNONYMS: dict[str, tuple[str, ...] | str] = {
    **dict.fromkeys(("learning_rate", "base_lr", "max_lr", "step_size"), ("optimizer.lr",)),
    **dict.fromkeys(("n_epochs", "num_epochs", "max_epochs", "nepochs"), ("optimizer.epochs",)),
    **dict.fromkeys(("optim", "optimizer_name"), ("optimizer.name",)),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), ("optimizer.schedule",)),
    **dict.fromkeys(("early_stopping", "early_stop", "early_stopping_patience"), ("optimizer.patience",)),
    **dict.fromkeys(("warmup", "num_warmup_steps"), ("optimizer.warmup_steps",)),
    **dict.fromkeys(("weight_decay", "wd", "reg", "reg_lambda", "l2_reg"), ("regularization.ids", "ranking.table_l2")),
    **dict.fromkeys(("batch", "batch_size", "train_batch_size", "users_per_batch"), ("loader.seed_users",)),
    **dict.fromkeys(("neighbors", "fanout", "fan_out", "num_samples"), ALIASES["num_neighbors"]),
    **dict.fromkeys(
        (
            "hidden_dim",
            "hidden_channels",
            "hidden_size",
            "hidden",
            "embedding_dim",
            "embed_dim",
            "emb_dim",
            "latent_dim",
        ),
        ("model.dim",),
    ),
    **dict.fromkeys(("num_layers", "n_layers", "nlayers"), ("model.layers",)),
    **dict.fromkeys(("num_heads", "n_heads"), ("model.heads",)),
    **dict.fromkeys(("conv", "layer_type", "model_name", "model_type", "gnn"), ("model.architecture",)),
    **dict.fromkeys(("negative_samples", "num_negatives", "neg_samples"), ("ranking.negatives",)),
    **dict.fromkeys(("random_seed", "manual_seed", "random_state"), ("seed",)),
    **dict.fromkeys(("amp", "fp16", "mixed_precision"), ("bf16",)),
    **dict.fromkeys(("cuda", "gpu", "accelerator"), ("device",)),
    **dict.fromkeys(("data_dir", "data_path", "dataset_path", "input"), ("data", "ratings")),
    **dict.fromkeys(("output", "output_dir", "out_dir", "save_dir", "log_dir", "logdir"), ("run_dir", "out")),
    **dict.fromkeys(("eval_every", "val_every", "eval_interval", "check_val_every_n_epoch"), ("validate_every",)),
    **dict.fromkeys(("save_every", "checkpoint_every", "save_steps", "save_interval"), ("checkpoint.every_steps",)),
    **dict.fromkeys(("resume_from", "resume_from_checkpoint", "restore"), ("resume",)),
    **dict.fromkeys(("wandb_project", "project_name"), ("wandb.project",)),
    **dict.fromkeys(("run_name", "experiment_name", "wandb_name"), ("wandb.name",)),
    **dict.fromkeys(("k", "topk", "top_k", "num_recommendations"), ("top",)),
    **dict.fromkeys(("user_id", "uid"), ("user", "user_column")),
    **dict.fromkeys(("user_col", "userid_column"), ("user_column",)),
    **dict.fromkeys(("item_col", "item_column", "movie_col", "item_id", "movie_id"), ("movie_column",)),
    **dict.fromkeys(("rating_col", "score_column"), ("rating_column",)),
    **dict.fromkeys(("time_column", "timestamp_col", "time_col"), ("timestamp_column",)),
    **dict.fromkeys(("test_size", "test_ratio", "test_frac", "test_fraction"), ("test",)),
    **dict.fromkeys(("val", "val_size", "valid", "val_ratio", "validation_size"), ("validation",)),
    **dict.fromkeys(("num_shards", "partitions", "num_partitions"), ("shards",)),
    **dict.fromkeys(("num_workers", "threads", "jobs"), ("workers",)),
    **dict.fromkeys(("n_trials", "num_trials"), ("trials",)),
    **dict.fromkeys(("num_seeds", "n_seeds"), ("seeds",)),
    **dict.fromkeys(("force", "replace"), ("overwrite",)),
    **dict.fromkeys(("gpus", "num_gpus", "n_gpus", "devices", "nproc", "nproc_per_node", "world_size"), _RANKS),
}


def us_spelling(name: str) -> str:
    """A name in the spelling of the options, with underscores."""
    name = name.replace("-", "_")
    for british, us in SPELLINGS.items():
        name = name.replace(british, us)
    return name


def aliased(name: str, known: Iterable[str]) -> list[str]:
    """Options that a name on the command line sets.

    Args:
        name: With underscores, and without the dashes at its beginning.
        known: Options of the program. Those of ``gnnrec plan`` have no sections, and its aliases follow from the last
            part of the names in the table.

    Returns:
        The option itself, what its alias sets, or nothing where the program has neither.
    """
    name, known = us_spelling(name), set(known)
    if name in known:
        return [name]
    options = [option for option in ALIASES.get(name, ()) if option in known]
    return options or [leaf for option in ALIASES.get(name, ()) if (leaf := _leaf(option)) in known]


def aliases_of(option: str, known: Iterable[str]) -> list[str]:
    """Short names of an option, where the program has no other option of that name."""
    known = set(known)
    return [name for name in ALIASES if name not in known and option in aliased(name, known)]


def suggestion(name: str, known: Iterable[str], typed: bool = True) -> str:
    """``(did you mean --NAME?)`` for an unknown option; empty where nothing is like it.

    Args:
        name: The unknown name, dotted.
        known: Options of the program.
        typed: On the command line, not in a file.
    """
    known, name = list(known), us_spelling(name)
    leaves = {_leaf(option): option for option in reversed(known)}
    meant = _synonym(_leaf(name), known, leaves)
    if isinstance(meant, str):
        return f" ({meant})"
    if not meant:
        others = [synonym for synonym in [*SYNONYMS, *ALIASES] if _synonym(synonym, known, leaves)]
        near = difflib.get_close_matches(name, [*known, *leaves, *others], n=1, cutoff=0.5)
        if not near:
            return ""
        meant = [near[0]] if near[0] in known else [leaves[near[0]]] if near[0] in leaves else None
        meant = meant or _synonym(near[0], known, leaves)
    if isinstance(meant, str):
        return f" ({meant})"
    return f" (did you mean {' or '.join(dashed(option) if typed else option for option in meant)}?)"


def _synonym(leaf: str, known: list[str], leaves: dict[str, str]) -> list[str] | str | None:
    """Options, or advice, that a name stands for in the tables; the options of the program come first."""
    if leaf in leaves:
        return [leaves[leaf]]
    meant = SYNONYMS.get(leaf) or ALIASES.get(leaf) or ()
    if isinstance(meant, str):
        return meant if "run_dir" in known else None
    options = [option for option in meant if option in known]
    return options or [leaf for option in meant if (leaf := _leaf(option)) in leaves]


def _leaf(option: str) -> str:
    return option.rsplit(".", 1)[-1]
