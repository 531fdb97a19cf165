"""One thread for work made of small steps."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_lock = threading.Lock()
_inside = 0
_before = 1


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block, and as many as before after it.

    A fit is a thousand operations of some microseconds each. Spread over threads they mostly wait for one another, and on a
    machine with other work to do they wait ten times longer than they compute. The number of threads belongs to the process;
    blocks in several Python threads share one change, taken back by the last.
    """
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = torch.get_num_threads()
            torch.set_num_threads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                torch.set_num_threads(_before)
