"""The small network and its data, one thread, and the command in this process."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def beside(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    specification = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny():
    """The module tiny.py of this folder."""
    return beside("tiny")


@pytest.fixture(autouse=True)
def one_thread(single_thread):
    """Runs are compared by the bit."""


@pytest.fixture
def fit(tiny, monkeypatch, tmp_path):
    """Train the small network: fit(folder name, settings of `train`, **keys of the recipe)."""
    import facerecon.training.run as run

    monkeypatch.setattr(run, "build_task", tiny.build)

    def start(name: str | None = "run", options: dict | None = None, data=None, **changes):
        return run.train(tiny.recipe(**changes), tiny.material() if data is None else data, None if name is None else tmp_path / name,
                         progress=False, **(options or {}))

    return start


@pytest.fixture(scope="session")
def mofa_heads():
    """The module mofa_heads.py of this folder."""
    return beside("mofa_heads")


@pytest.fixture(scope="session")
def heads(mofa_heads):
    """Drawn heads of the open model."""
    return mofa_heads.Heads()
