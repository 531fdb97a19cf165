"""One warm reconstructor, landmarks only, for all tests of the pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PORTRAITS = sorted((Path(__file__).resolve().parents[2] / "assets" / "portraits").glob("*.jpg"))


@pytest.fixture(scope="session")
def reconstructor():
    from facerecon import FaceReconstructor

    with FaceReconstructor(method="fit", stages="landmarks", texture="none") as made:
        yield made


@pytest.fixture(scope="session")
def portrait():
    """portrait(index, side) -> uint8 (side, side, 3)."""
    def make(index: int, side: int = 300) -> np.ndarray:
        return np.asarray(Image.open(PORTRAITS[index]).convert("RGB").resize((side, side), Image.Resampling.LANCZOS))

    return make


@pytest.fixture(scope="session")
def face(reconstructor, portrait):
    """The reconstruction of the first portrait."""
    return reconstructor(portrait(0))[0]
