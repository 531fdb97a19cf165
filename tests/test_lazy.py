"""Values that are made when they are first asked for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from facerecon.lazy import Once


def test_a_value_is_made_once_whoever_asks():
    made, together = [], threading.Barrier(8)

    def make() -> object:
        made.append(object())
        return made[-1]

    once = Once(make)
    assert not made

    def ask(_: int) -> object:
        together.wait()
        return once()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {made[0]} and len(made) == 1


def test_an_error_is_not_kept():
    answers = [OSError("not now"), None]

    def make() -> None:
        answer = answers.pop(0)
        if answer:
            raise answer

    once = Once(make)
    with pytest.raises(OSError, match="not now"):
        once()
    # None is a value too: it is not made again.
    assert once() is None and once() is None
