"""Event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import sys

import pytest

from gnnrec.errors import Stopped, UserError
from tests.training.runs import STOP, config_of, run
from tests.training.tracking.test_tracker import recorded


def scalars(directory) -> dict[tuple[str, int], list[float]]:
    """Values by name and step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events, found = EventAccumulator(str(directory / "tensorboard")), {}
    events.Reload()
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            found.setdefault((name, event.step), []).append(event.value)
    return found


def test_tensorboard_has_every_number_once_after_a_stop_and_a_kill(dataset, tmp_path):
    config = config_of(dataset, tmp_path / "run", tensorboard=True, checkpoint={"every_steps": 4})

    def killed():
        raise KeyboardInterrupt  # without a word, behind the last checkpoint

    with pytest.raises(Stopped):
        run(config, {10: STOP})
    with pytest.raises(KeyboardInterrupt):
        run(config, {8: killed})
    run(config)
    expected = {
        (name, record["step"]): [pytest.approx(value, rel=1e-5)]
        for record in recorded(tmp_path / "run")
        for name, value in record.items()
        if name not in ("step", "time")
    }
    found = scalars(tmp_path / "run")
    assert found == expected and ("validation_rmse", 24) in found and ("test_rmse", 24) in found
    assert not (tmp_path / "run" / "wandb").exists()


def test_without_tensorboard_there_is_a_way_out(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="pip install 'gnnrec.tensorboard.'"):
        run(config_of(dataset, tmp_path / "run", tensorboard=True))
