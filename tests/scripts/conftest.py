"""The scripts can be imported by their names, as they import each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def _scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "scripts"))
        before = list(sys.path)
        yield
        sys.path[:] = before
