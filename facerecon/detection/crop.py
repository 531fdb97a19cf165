"""A square crop of a picture, turned and scaled, and the exact way back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from facerecon.checks import check_range


@dataclass(frozen=True)
class Crop:
    """A square region of a picture as a picture of its own; crop, resize and their inverse in one object.

    Both pictures have their origin at the centre of the top-left pixel. The region's outer edge lands on the outer edge of
    the crop: q = size / side * Rot(-roll) (p - centre) + (size - 1) / 2.

    Attributes:
        centre: (x, y) of the region's centre, px of the picture.
        side: the region's side, px of the picture.
        size: the crop's side, px.
        roll: radians by which the region's rows are turned in the picture, clockwise as seen (x right, y down).
    """

    centre: tuple[float, float]
    side: float
    size: int
    roll: float = 0.0

    def __post_init__(self) -> None:
        check_range("side", float(self.side), 1e-6)
        check_range("size", int(self.size), 1)
        check_range("roll", float(self.roll))

    @classmethod
    def around(cls, box: np.ndarray, *, size: int, padding: float = 1.0, roll: float = 0.0) -> Crop:
        """The square around a box (x0, y0, x1, y1), of `padding` times its longer side."""
        x0, y0, x1, y1 = (float(value) for value in box)
        return cls(((x0 + x1) / 2, (y0 + y1) / 2), padding * max(x1 - x0, y1 - y0), size, roll)

    @property
    def scale(self) -> float:
        """Crop px per picture px."""
        return self.size / self.side

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3) float64 affine map from picture px to crop px."""
        turn = self.scale * np.array([[math.cos(self.roll), math.sin(self.roll)],
                                      [-math.sin(self.roll), math.cos(self.roll)]])
        return np.column_stack([turn, (self.size - 1) / 2 - turn @ np.asarray(self.centre, dtype=np.float64)])

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Picture points (..., 2 or 3) to crop points; a third column is a depth in px and is scaled."""
        return self._map(points, self.matrix, self.scale)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Crop points (..., 2 or 3) to picture points; a third column is a depth in px and is scaled."""
        forward = self.matrix
        turn = forward[:, :2].T / self.scale**2
        return self._map(points, np.column_stack([turn, -turn @ forward[:, 2]]), 1 / self.scale)

    def extract(self, pixels: np.ndarray, *, fill: int = 0) -> np.ndarray:
        """The crop (size, size, C) of a uint8 or float picture (H, W, C); `fill` where it leaves the picture.

        Bilinear; a strong reduction first averages whole blocks of pixels, so that nothing is skipped.
        """
        import cv2

        matrix, source = self.matrix, pixels
        block = int(1 / self.scale)
        if block >= 2:
            source, offset = self._reduced(pixels, block)
            # A reduced pixel r covers picture pixels offset + block * r to offset + block * (r + 1) - 1.
            matrix = np.column_stack([matrix[:, :2] * block,
                                      matrix[:, :2] @ (offset + (block - 1) / 2) + matrix[:, 2]])
        if source.size == 0:
            return np.full((self.size, self.size, *pixels.shape[2:]), fill, pixels.dtype)
        return cv2.warpAffine(source, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR,
                              borderMode=cv2.BORDER_CONSTANT, borderValue=(fill, fill, fill, fill))

    def _reduced(self, pixels: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
        import cv2

        reach = self.side / 2 * (abs(math.cos(self.roll)) + abs(math.sin(self.roll))) + 2 * block
        limit = np.array([pixels.shape[1], pixels.shape[0]])
        low = np.clip(np.floor(np.asarray(self.centre) - reach), 0, limit).astype(int)
        high = np.clip(np.ceil(np.asarray(self.centre) + reach), low, limit).astype(int)
        wide, high_rows = (high - low) // block
        region = pixels[low[1]:low[1] + high_rows * block, low[0]:low[0] + wide * block]
        if region.size == 0:
            return region, low
        return cv2.resize(region, (int(wide), int(high_rows)), interpolation=cv2.INTER_AREA), low

    @staticmethod
    def _map(points: np.ndarray, matrix: np.ndarray, depth_scale: float) -> np.ndarray:
        points = np.asarray(points)
        mapped = points[..., :2] @ matrix[:, :2].T + matrix[:, 2]
        if points.shape[-1] > 2:
            mapped = np.concatenate([mapped, points[..., 2:] * depth_scale], axis=-1)
        return mapped.astype(points.dtype if points.dtype.kind == "f" else np.float64)
