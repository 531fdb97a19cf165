"""Compiled loops: they work without a cache folder, on threads, and after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from facerecon.geometry import compiled as module

ROOT = Path(__file__).resolve().parents[2]


def test_no_place_for_the_cache_still_compiles(monkeypatch):
    def refuse(*arguments, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'twice': no locator available for file 'x'")
        return lambda function: function

    monkeypatch.setattr(module.numba, "njit", refuse)
    assert module.compiled(lambda x: 2 * x)(21) == 42


def test_other_compile_errors_are_not_hidden(monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("broken")

    monkeypatch.setattr(module.numba, "njit", refuse)
    with pytest.raises(RuntimeError, match="broken"):
        module.compiled(lambda x: x)


def test_jobs_keep_their_order_and_pass_errors_on(monkeypatch):
    monkeypatch.setattr(module, "thread_count", lambda: 4)
    names = set()

    def work(x):
        names.add(threading.current_thread().name)
        if x == 13:
            raise ValueError("thirteen")
        return x * x

    assert module.run_jobs([(work, (x,)) for x in range(10)]) == [x * x for x in range(10)]
    assert len(names) > 1
    with pytest.raises(ValueError, match="thirteen"):
        module.run_jobs([(work, (x,)) for x in (13, 1)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_render():
    script = """
import os, torch
from facerecon.render import rasterize
torch.set_num_threads(2)
v = torch.tensor([[[0., 0, 1], [9, 0, 1], [0, 9, 1]]]).repeat(4, 1, 1)
f = torch.tensor([[0, 1, 2]])
before = rasterize(v, f, (8, 8)).face_index
child = os.fork()
if child == 0:
    same = torch.equal(rasterize(v, f, (8, 8)).face_index, before)
    os._exit(0 if same else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], env=environment, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
