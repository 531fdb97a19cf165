"""What is behind a head: noise, gradients, or pieces of the user's own pictures."""

from __future__ import annotations

import os

import numpy as np

from facerecon.data import load_image
from facerecon.errors import FaceReconError
from facerecon.synthesis.pictures import find_pictures


def noise_background(generator: np.random.Generator, size: int) -> np.ndarray:
    """Smooth, mostly grey noise, (size, size, 3) in [0, 1]."""
    import cv2

    picture = np.full((size, size, 3), generator.uniform(0.3, 0.7) + generator.uniform(-0.08, 0.08, 3))
    for cells, strength in ((3, 0.14), (9, 0.06), (40, 0.03)):
        noise = generator.normal(size=(cells, cells, 1)) + 0.35 * generator.normal(size=(cells, cells, 3))
        picture += strength * cv2.resize(noise.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 1)


def room_background(generator: np.random.Generator, size: int) -> np.ndarray:
    """Blurred coloured boxes and lights out of focus before a gradient, (size, size, 3) float32 in [0, 1]."""
    import cv2

    top, bottom = (np.clip(generator.uniform(0.05, 0.95) + 0.07 * generator.normal(size=3), 0, 1) for _ in range(2))
    ramp = np.linspace(0, 1, size)[:, None, None]
    picture = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (size, size, 3)).astype(np.float32).copy()
    for _ in range(generator.integers(0, 14)):
        colour = tuple(float(v) for v in np.clip(generator.uniform(0.02, 0.98) + 0.2 * generator.normal(size=3), 0, 1))
        x, y = (int(v) for v in generator.uniform(-0.2, 1.1, 2) * size)
        wide, high = (int(v) + 2 for v in generator.uniform(0.03, 0.6, 2) * size)
        if generator.uniform() < 0.25:
            cv2.circle(picture, (x, y), min(wide, high) // 2 + 1, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, (x, y), (x + wide, y + high), colour, -1)
    blur = generator.uniform(0.3, 8.0) * size / 192
    return np.clip(cv2.GaussianBlur(picture, (0, 0), blur), 0, 1)


class Backgrounds:
    """Backgrounds from a folder of pictures, or made up.

    Args:
        folder: searched recursively for pictures; None: noise and blurred rooms.

    Raises:
        DatasetError: `dataset_missing` for a folder without pictures.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        # Names and sizes stand for the content: other pictures make another archive.
        self._paths, self.about = ([], None) if folder is None else find_pictures(folder)

    def draw(self, generator: np.random.Generator, size: int) -> np.ndarray:
        """(size, size, 3) float32 in [0, 1]; a picture that cannot be read gives a made-up background."""
        if self._paths:
            path = self._paths[generator.integers(len(self._paths))]
            try:
                return _cut(generator, load_image(path).pixels, size)
            except FaceReconError:
                pass
        if generator.uniform() < 0.15:
            return noise_background(generator, size).astype(np.float32)
        return room_background(generator, size)


def _cut(generator: np.random.Generator, pixels: np.ndarray, size: int) -> np.ndarray:
    import cv2

    height, width = pixels.shape[:2]
    side = max(1, int(min(height, width) * generator.uniform(0.4, 1)))
    row, column = generator.integers(height - side + 1), generator.integers(width - side + 1)
    part = pixels[row:row + side, column:column + side]
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    picture = cv2.resize(part, (size, size), interpolation=how).astype(np.float32) / 255
    if generator.uniform() < 0.5:
        picture = picture[:, ::-1]
    # Portraits are taken with the background out of focus.
    blur = generator.uniform(0, 3.5) * size / 192
    return cv2.GaussianBlur(picture, (0, 0), blur) if blur > 0.4 else np.ascontiguousarray(picture)
