"""Event files, read with TensorBoard's own reader."""

from __future__ import annotations

import sys

import pytest

from gnnrec.errors import Stopped, UserError
from tests.training.runs import STOP, config_of, run
from tests.training.tracking.test_tracker import recorded


def scalars(directory) -> dict[tuple[str, int], list[float]]:
    """Values by name and step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events, values = EventAccumulator(str(directory / "tensorboard")), {}
    events.Reload()
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            values.setdefault((name, event.step), []).append(event.value)
    return values


@pytest.mark.slow
def test_tensorboard_has_every_number_once_after_a_stop_and_a_kill(dataset, tmp_path):
    config = config_of(dataset, tmp_path / "run", tensorboard=True, checkpoint={"every_steps": 4})

    def killed():
        raise KeyboardInterrupt  # after the last checkpoint, without saving

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
    values = scalars(tmp_path / "run")
    assert values == expected and ("validation_rmse", 24) in values and ("test_rmse", 24) in values
    assert not (tmp_path / "run" / "wandb").exists()


def test_a_missing_tensorboard_is_an_error_with_the_install_command(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="pip install 'gnnrec.tensorboard.'"):
        run(config_of(dataset, tmp_path / "run", tensorboard=True))
