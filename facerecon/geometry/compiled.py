"""Compiled loops: numba with a cache that may be missing, and a pool of threads.

The loops release Python's global lock and are spread over threads from outside. numba's own parallel mode is not used: its
default back ends abort the process when two threads enter it, or when a process that used it forks (data loaders do).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
_pool: ThreadPoolExecutor | None = None
_pool_owner: tuple[int, int] | None = None
_pool_lock = threading.Lock()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at first call, for the types met; kept on disk where a folder can be written, in memory otherwise."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError as error:
        # A read-only installation with a read-only home has no place for the cache; the loops work without it.
        if "cache" not in str(error):
            raise
        return numba.njit(cache=False, nogil=True, error_model="numpy")(function)


def lazy_zeros(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Zeros on the CPU whose memory the system hands out at first touch: background that nobody writes costs no time."""
    return torch.from_numpy(np.zeros(tuple(shape), dtype=_NUMPY[dtype]))


def thread_count() -> int:
    """Threads that compiled loops may use: torch's own setting, so that one knob rules both."""
    return max(1, torch.get_num_threads())


def run_jobs(jobs: Sequence[tuple[Callable[..., Any], tuple]]) -> list[Any]:
    """Run (function, arguments) pairs, on threads when there are several; results in the order of the jobs."""
    if len(jobs) <= 1 or thread_count() == 1:
        return [function(*arguments) for function, arguments in jobs]
    pool = _shared_pool()
    # The calling thread takes the last job itself: one hand-over less, and a single job never waits for the pool.
    waiting = [pool.submit(function, *arguments) for function, arguments in jobs[:-1]]
    function, arguments = jobs[-1]
    last = function(*arguments)
    return [future.result() for future in waiting] + [last]


def _shared_pool() -> ThreadPoolExecutor:
    global _pool, _pool_owner
    wanted = (os.getpid(), thread_count())
    with _pool_lock:
        # Threads do not survive a fork, so a child process makes its own pool.
        if _pool is None or _pool_owner != wanted:
            _pool = ThreadPoolExecutor(max_workers=wanted[1], thread_name_prefix="facerecon-loops")
            _pool_owner = wanted
        return _pool


def _renew_lock() -> None:
    global _pool_lock, _pool, _pool_owner
    _pool_lock, _pool, _pool_owner = threading.Lock(), None, None


if hasattr(os, "register_at_fork"):
    # A fork while another thread holds the lock would leave it locked for ever in the child.
    os.register_at_fork(after_in_child=_renew_lock)
