"""What tests of all folders share."""

from __future__ import annotations

import pytest


@pytest.fixture
def single_thread():
    """Sums of torch have one order, so that results can be compared by the bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
