"""One synthetic face with everything that is known about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from facerecon.checks import check_choice, check_range, check_shape
from facerecon.errors import ArgumentError
from facerecon.export.images import DepthRange
from facerecon.gmda import MAP_SIZE
from facerecon.morphable.parameters import FaceParameters

MAPS = ("pncc", "depth", "normals")
LANDMARKS = {"ibug68": 68, "mediapipe478": 478}
# Depth is stored in mm of the model, relative to its origin, over a range that any head fits into: the code does not depend on
# the picture. A step is 0.008 mm.
DEPTH_RANGE = DepthRange(-256.0, 256.0, "mm")


@dataclasses.dataclass(frozen=True, eq=False)
class SyntheticFace:
    """A picture whose every parameter is known.

    Attributes:
        name: of the picture's file, unique in its archive: "synthetic_0_000012.jpg".
        subject: who it shows; splits go by it. None: nobody knows.
        image: (S, S, 3) uint8 RGB.
        parameters: of the model, pose in px of `image`.
        points68, points478: (68, 2) and (478, 2) float32 px, the model's landmarks projected by the pose; NaN where the model
            has no such landmarks.
        visible68, visible478: bool, what no part of the head hides (z-buffer). Occluders before the face do not count.
        maps: any of "pncc" (128, 128, 3) uint8, the code times 255 of the model's PNCC region in the picture resized to 128 px,
            background 0; "depth" (S, S) uint16, see `DEPTH_RANGE`, 0 background; "normals" (S, S, 3) uint8, 127.5 (n + 1) in
            the frame x right, y up, z toward the viewer, background 0. They show the head without what is before it.
        quality: of the JPEG file that the archive keeps, 1 to 100.
        colours_known: False where albedo and light are nobody's, as those of a fit to landmarks alone: an archive keeps NaN, so
            that nothing learns them.

    Raises:
        ArgumentError: shapes, dtypes or sizes that do not belong together.
    """

    name: str
    subject: str | None
    image: np.ndarray
    parameters: FaceParameters
    points68: np.ndarray
    visible68: np.ndarray
    points478: np.ndarray
    visible478: np.ndarray
    maps: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    quality: int = 95
    colours_known: bool = True

    def __post_init__(self) -> None:
        size = check_shape("image", self.image, ("S", "S", 3)).shape[0]
        _check_array("image", self.image, np.uint8, (size, size, 3))
        for count in LANDMARKS.values():
            _check_array(f"points{count}", getattr(self, f"points{count}"), np.float32, (count, 2))
            _check_array(f"visible{count}", getattr(self, f"visible{count}"), np.bool_, (count,))
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "pncc": (np.uint8, (MAP_SIZE, MAP_SIZE, 3)), "depth": (np.uint16, (size, size)),
            "normals": (np.uint8, (size, size, 3))}
        for name, array in self.maps.items():
            _check_array(name, array, *shapes[check_choice("maps", name, MAPS)])
        check_range("quality", self.quality, 1, 100)

    @property
    def size(self) -> int:
        """Side of the picture, px."""
        return self.image.shape[0]


def _check_array(name: str, array: np.ndarray, dtype: Any, shape: tuple[int, ...]) -> None:
    check_shape(name, array, shape)
    if array.dtype != dtype:
        raise ArgumentError(f"{name}: wanted {np.dtype(dtype)}, got {array.dtype}", code="dtype_invalid")
