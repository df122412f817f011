"""What a ranking model has to beat, by name."""

from __future__ import annotations

from gnnrec.baselines.baseline import Baseline
from gnnrec.baselines.ease import EASE
from gnnrec.baselines.implicit_als import IMPLICIT_ALS
from gnnrec.baselines.popularity import POPULARITY

#: Name -> baseline, the simplest first.
RANKING_BASELINES: dict[str, Baseline] = {baseline.name: baseline for baseline in (POPULARITY, EASE, IMPLICIT_ALS)}
