"""What tests of all folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


def _held_to(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def single_thread():
    """Sums of torch have one order, so that results can be compared by the bit."""
    yield from _held_to(1)


@pytest.fixture
def two_threads():
    """Set torch to two threads for a test, and back."""
    yield from _held_to(2)
