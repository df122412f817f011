"""The audit of the split of a run: what training ratings tell about held-out ones."""

from __future__ import annotations

from gnnrec.data.leakage import SESSION, SplitAudit, audit_split
from gnnrec.data.prepared import PreparedDataset
from gnnrec.reporting.content import Section, Table


def leakage_section(dataset: PreparedDataset | None) -> Section | None:
    """Shows the audit as a table; None without a dataset or held-out ratings."""
    audit = None if dataset is None else audit_split(dataset)
    if audit is None or dataset is None or not audit.held_out:
        return None
    text = (
        f"What the training ratings tell about the {audit.held_out:,} validation and test ratings of the split "
        f"({dataset.manifest.split['protocol']}) beyond what is known when a model is used: one of the same sitting, "
        "or a later one, makes a held-out rating easier to predict than a future one."
    )
    caption = "Cold users have no training ratings, cold movies none by any user."
    head = ["held-out ratings", "number", "share"]
    return Section("leakage", "Leakage", text, [Table(caption, head, _rows(audit), wide=True)])


def _rows(audit: SplitAudit) -> list[list[str]]:
    of_user = "with a training rating of the same user"
    counts = {
        f"{of_user} within {SESSION // 60} minutes": audit.same_session,
        f"{of_user} at the same time": audit.equal_time,
        f"{of_user} that is later": audit.later,
        f"of {audit.cold_users:,} cold users": audit.cold_user_ratings,
        f"of {audit.cold_movies:,} cold movies": audit.cold_movie_ratings,
    }
    return [
        [name, f"{count:,}", f"{100 * count / audit.held_out:.1f} %"]
        for name, count in counts.items()
        if count is not None
    ]
