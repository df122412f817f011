"""Names that differ between two versions of the program, and values that differ between two runs of one version."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

#: Old name -> new name. Patterns are regular expressions, replacements may refer to groups (``\\1``), and entries apply
#: one after the other to every part of a key that they match. Keys look like this:
#:
#: - ``case/rating-2`` and ``case/prepared-strong``: the name of a case
#: - ``run/checkpoints/step-0000000002/model/encoder.layers.0.weight``: a tensor; ``model`` is the file
#: - ``run/metrics/0/gradient_norm``, ``run/summary/baselines/biased MF/test_rmse``: a figure
#: - ``run/config/loader/folds``: an option of training. On the command line the same entry applies to
#:   ``run/config/loader/folds=10``, so that an entry may also rename a value
#: - ``option/prepare/protocol=strong``: an option of ``prepare``, ``synth``, ``export`` or ``recommend``
#: - ``export/users/embedding``, ``recommended/recommendations/score``, ``prepared/user_ptr``: columns and arrays
RENAMED: list[tuple[str, str]] = [
    (r"(checkpoints/.*[/.])residual_source\b", r"\1residual_embedding"),
    (r"(checkpoints/.*[/.])source\b", r"\1message_embedding"),
    (r"(checkpoints/.*[/.])identity\b", r"\1id_embedding"),
    (r"(checkpoints/.*[/.])drift_multiple\b", r"\1temporal_bias_scale"),
    (r"(checkpoints/.*[/.])discount$", r"\1popularity_exponent"),
    (r"chosen/strength$", "chosen/l2"),
    (r"chosen/rank$", "chosen/num_factors"),
    (r"chosen/discount$", "chosen/popularity_exponent"),
    (r"checkpoint/progress/sums/", "checkpoint/progress/totals/"),
    (r"checkpoint/progress/", "checkpoint/train_state/"),
    (r"loader/movie_rows=touched", "loader/movie_rows=active"),
    (r"config/regularisation/sources\b", "config/regularization/messages"),
    (r"config/regularisation/", "config/regularization/"),
    (r"config/model/movie_id_spread\b", "config/model/movie_id_init_std"),
    (r"config/model/spread\b", "config/model/init_std"),
    (r"config/optimizer/deep_rate\b", "config/optimizer/upper_layer_lr_scale"),
    (r"config/optimizer/full_rate_degree\b", "config/optimizer/message_lr_degree"),
    (r"config/ranking/l2\b", "config/ranking/table_l2"),
    (r"config/ranking/strength\b", "config/ranking/l2"),
    (r"config/ranking/rank\b", "config/ranking/num_factors"),
    (r"config/ranking/discount\b", "config/ranking/popularity_exponent"),
]

#: Keys that are not compared: clocks, memory, the commit, sizes and versions of files, copies of the configuration.
IGNORED = [
    r"metrics/\d+/time$",
    r"(metrics|summary|checkpoint)/.*(seconds|edges_per_second|memory|recorded_bytes)",
    r"checkpoint/(progress|train_state)/times/",
    r"checkpoint/config/",
    r"checkpoint/format_version$",
    r"summary/git_",
    r"manifest/(files/|format_version$)",
]


def translate(name: str, table: Iterable[tuple[str, str]] | None = None) -> str:
    """The name that an old name has now.

    Args:
        name: A key as in :data:`RENAMED`.
        table: The entries; by default those of :data:`RENAMED`.
    """
    for pattern, replacement in RENAMED if table is None else table:
        name = re.sub(pattern, replacement, name)
    return name


def is_ignored(key: str) -> bool:
    """Whether a key is left out of a recording."""
    return any(re.search(pattern, key) for pattern in IGNORED)


def option_word(section: str, option: str, value: str, read_help: Callable[[], str]) -> str:
    """An option as the tree spells it: ``--loader.folds=10``.

    Args:
        section: Beginning of its key: ``run/config`` or ``option/COMMAND``.
        option: Its old dotted name.
        value: Its old value.
        read_help: Returns what ``--help`` prints. Only called for an option that the table renames.

    Raises:
        ValueError: The tree has neither the old name nor the new one.
    """
    old = f"{section}/{option.replace('.', '/')}={value}"
    new = translate(old)
    if new == old:
        return f"--{option}={value}"
    text = read_help().replace("-", "_")
    for key in (new, old):
        name, _, word = key.removeprefix(f"{section}/").replace("/", ".").partition("=")
        renamed_value = word != value
        known = re.search(rf"__{re.escape(name.replace('-', '_'))}\b", text)
        if known and (not renamed_value or re.search(rf"\b{re.escape(word.replace('-', '_'))}\b", text)):
            return f"--{name}={word}"
    raise ValueError(f"--help has neither {new} nor {old}")
