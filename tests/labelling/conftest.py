"""A small scheme, labels for it, and a folder of small photos."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facerecon.alignment import LandmarkScheme
from facerecon.alignment.labels import LabelledImage


@pytest.fixture(scope="session")
def scheme() -> LandmarkScheme:
    """Four points with awkward names."""
    return LandmarkScheme("four", ("right eye", "left eye", 'tip of the "nose" & more', "chin <ü>"), (1, 0, 2, 3), (0, 1),
                          {"eyes": (0, 1), "middle": (2, 3)})


@pytest.fixture
def labels() -> list[LabelledImage]:
    """Three photos: everything visible; one point hidden and one absent; a name with a folder and letters that need care."""
    generator = np.random.default_rng(0)
    points = generator.uniform(-0.5, 47.5, (3, 4, 2))
    points[1, 2] = np.nan
    visible = np.ones((3, 4), bool)
    visible[1, 0] = False
    names = ("a.jpg", "b.png", 'folder/ü & "c".jpg')
    return [LabelledImage(name, points[index], visible[index], (48, 60)) for index, name in enumerate(names)]


@pytest.fixture
def photos(tmp_path):
    """Twenty photos of 48 x 60 px in two folders."""
    folder = tmp_path / "photos"
    for index in range(20):
        place = folder / ("sub" if index % 4 == 0 else "") / f"p{index:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (60, 48, 3), np.uint8)
        Image.fromarray(pixels).save(place)
    return folder
