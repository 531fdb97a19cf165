"""Paint eyeballs, from the MakeHuman iris pictures, by the angle from the gaze axis."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from open_model.uvmaps import look_up

# Centres (column, row) and radii in pixels of the two eyes in the 512 px iris pictures.
_CENTRES, _IRIS = ((150.0, 360.0), (362.0, 152.0)), 58.5
# Angle from the gaze axis in degrees -> radius in iris radii of the pictures. The first four are the rings of the mesh.
_ANGLE = (0.0, 7.5, 10.5, 19.5, 22.5, 50.0, 90.0)
_RADIUS = (0.0, 0.24, 0.40, 0.94, 1.12, 1.9, 2.35)
# Irises of the world are mostly brown.
IRIS_WEIGHTS = {"brown": 0.52, "brownlight": 0.20, "blue": 0.09, "lightblue": 0.04, "bluegreen": 0.02, "green": 0.05,
                "grey": 0.06, "ice": 0.02}


def read_irises(folder: Path) -> dict[str, np.ndarray]:
    """Iris pictures by colour name: the mean of both eyes as (256, 360, 3) in [0,1], rows radius 0 to 2.5 iris radii,
    columns degrees around."""
    radius = np.linspace(0, 2.5, 256)[:, None] * _IRIS
    around = np.radians(np.arange(360))[None]
    irises = {}
    for name in IRIS_WEIGHTS:
        picture = cv2.imread(str(folder / f"{name}_eye.png"), cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255.0
        eyes = [cv2.remap(picture, (x + radius * np.cos(around)).astype(np.float32),
                          (y - radius * np.sin(around)).astype(np.float32), cv2.INTER_LINEAR) for x, y in _CENTRES]
        irises[name] = sum(eyes) / len(eyes)
    # MakeHuman's brown is a saturated red; real brown irises are darker and less red.
    irises["brown"] = irises["brown"] * _soft_disc(np.array([0.62, 1.1, 1.6]))
    return irises


def paint_eye(iris: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Colours (..., 3) of an eyeball at unit directions (..., 3) from its centre, gaze along +z, for one iris picture."""
    angle = np.degrees(np.arccos(np.clip(direction[..., 2], -1, 1)))
    around = np.degrees(np.arctan2(direction[..., 1], direction[..., 0])) % 360
    row = np.interp(angle, _ANGLE, _RADIUS) / 2.5 * (iris.shape[0] - 1)
    colour = look_up(np.concatenate([iris, iris[:, :1]], axis=1), around, row)
    # The white is a little brighter than painted, and pink towards the corners of the eye.
    white = np.clip((angle - 22.5) / 3, 0, 1)[..., None]
    corner = np.clip((angle - 42) / 30, 0, 1)[..., None]
    bright = np.clip(colour * 1.06, 0, 0.9) * (1 - corner) + np.array([0.66, 0.50, 0.47]) * corner
    return colour * (1 - white) + bright * white


def _soft_disc(gain: np.ndarray) -> np.ndarray:
    radius = np.linspace(0, 2.5, 256)[:, None, None]
    inside = np.clip((1.08 - radius) / 0.1, 0, 1)
    return 1 + inside * (gain - 1)
