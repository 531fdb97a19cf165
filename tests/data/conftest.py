"""Small pictures to encode in every way."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PORTRAITS = Path(__file__).resolve().parents[2] / "assets" / "portraits"


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A 160 x 120 part of a portrait: smooth, coloured, unlike its own mirror images."""
    with Image.open(PORTRAITS / "portrait_02.jpg") as image:
        return image.convert("RGB").crop((330, 200, 730, 500)).resize((160, 120), Image.Resampling.BOX)


@pytest.fixture(scope="session")
def encode():
    """encode(image, format, **options) -> bytes."""

    def run(image: Image.Image, name: str, **options) -> bytes:
        stream = io.BytesIO()
        image.save(stream, name, **options)
        return stream.getvalue()

    return run


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """(40, 60, 3) uint8, every value anywhere."""
    return np.random.default_rng(7).integers(0, 256, (40, 60, 3), dtype=np.uint8)
