"""One face finder for all detection tests, and photos to find faces in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facerecon.data import load_image
from facerecon.detection import FaceFinder

PORTRAITS = Path(__file__).resolve().parents[2] / "assets" / "portraits"


@pytest.fixture(scope="session")
def finder():
    with FaceFinder() as made:
        yield made


@pytest.fixture(scope="session")
def portraits() -> list[np.ndarray]:
    """Four portraits at 400 px: one face each, about 150 px wide."""
    return [cv2.resize(load_image(PORTRAITS / f"portrait_{number}.jpg").pixels, (400, 400), interpolation=cv2.INTER_AREA)
            for number in ("02", "05", "08", "13")]


@pytest.fixture(scope="session")
def found(finder, portraits):
    """The faces of each portrait."""
    return [finder.find(pixels) for pixels in portraits]


@pytest.fixture(scope="session")
def place():
    """place(canvas, picture, x, y, width): paste a square picture scaled to `width`; returns the face's rough box."""

    def run(canvas: np.ndarray, picture: np.ndarray, x: int, y: int, width: int) -> np.ndarray:
        canvas[y:y + width, x:x + width] = cv2.resize(picture, (width, width), interpolation=cv2.INTER_AREA)
        return np.array([x + 0.31 * width, y + 0.23 * width, x + 0.69 * width, y + 0.67 * width])

    return run
