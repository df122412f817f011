"""one_torch_thread changes torch's number of threads inside the block only."""

from __future__ import annotations

import pytest
import torch

from gnnrec.data.threads import one_torch_thread


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_thread_inside_the_block_only(three_threads):
    with one_torch_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_threads_are_restored_after_an_error(three_threads):
    with pytest.raises(ZeroDivisionError), one_torch_thread():
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 3
