"""Fixtures of the morphable tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def _load_tiny():
    specification = importlib.util.spec_from_file_location("tiny", Path(__file__).parent / "tiny.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny():
    """The module that makes the cube model."""
    return _load_tiny()


@pytest.fixture(scope="session")
def open_data():
    """The shipped model's arrays."""
    from facerecon.assets import locate
    from facerecon.morphable import read_model

    return read_model(locate("models/open-head.facemodel"))


@pytest.fixture(scope="session")
def open_model(open_data):
    """The shipped model."""
    from facerecon.morphable import MorphableModel

    return MorphableModel(open_data)
