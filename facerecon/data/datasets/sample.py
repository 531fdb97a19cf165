"""What a dataset reader gives: one typed, frozen value per image.

Pixel coordinates have their origin at the centre of the top-left pixel (`pixel_origin` "zero"), or, when a reader was asked
for "matlab1", at the place one pixel further up and left, so that the centre of that pixel is (1, 1). Every sample carries its
tag, and coordinates of different tags are never compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice

PIXEL_ORIGINS = ("zero", "matlab1")


@dataclasses.dataclass(frozen=True)
class FaceSample:
    """One annotated face.

    Attributes:
        name: unique in the dataset and the same on every machine.
        image: path of the photo; reading it is the caller's job (`facerecon.data.load_image`).
        scheme: of the landmarks: "ibug68", "aflw19", "wflw98", "celeba5"; None without landmarks.
        landmarks: (N, 2) px, or (N, 3) with a depth in px that grows toward the viewer; float64.
        visible: (N,) bool, None where the release does not say. Coordinates of a hidden point may be meaningless.
        box: (4,) x0, y0, x1, y1 px that the release gives, or None.
        pixel_origin: "zero" or "matlab1".
        split: which part of the release the sample belongs to ("train", "test", a subset's name), or None.
        attributes: what else the release says: plain numbers, flags and texts.
    """

    name: str
    image: Path
    scheme: str | None = None
    landmarks: np.ndarray | None = None
    visible: np.ndarray | None = None
    box: np.ndarray | None = None
    pixel_origin: str = "zero"
    split: str | None = None
    attributes: Mapping[str, object] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class MorphableSample(FaceSample):
    """A face with fitted Basel parameters, as AFLW2000-3D and 300W-LP store them.

    `landmarks` are the projected model points (anatomical, jaw included).

    Attributes:
        shape_para: (199,) raw shape coefficients: micrometres along the unit-norm components w.
        exp_para: (29,) coefficients of w_exp, no unit.
        tex_para: (T,) raw texture coefficients, 0 to 255 scale.
        pose_para: (7,) as stored, whatever `pixel_origin` is: pitch, yaw, roll [rad], tx, ty, tz [px, y up, 1-based], f [px/um].
        illum_para: (10,), color_para: (7,): light and colour of the fit.
        points2d: (M, 2) px, manual labels (21 of AFLW in AFLW2000-3D, 68 in 300W-LP), NaN where not visible; or None.
        roi: (4,) px: the crop in the original AFLW image, as stored; or None.
        image_height: h of the projection, 450 in both releases.
    """

    shape_para: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(199))
    exp_para: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(29))
    tex_para: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(199))
    pose_para: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(7))
    illum_para: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(10))
    color_para: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(7))
    points2d: np.ndarray | None = None
    roi: np.ndarray | None = None
    image_height: int = 450

    @property
    def euler_deg(self) -> np.ndarray:
        """(3,) pitch, yaw, roll in degrees, as annotated (not wrapped)."""
        return np.degrees(self.pose_para[:3])

    def project(self, vertices: np.ndarray) -> np.ndarray:
        """The ground truth's projection: vertices (..., 3) in millimetres -> (..., 3) x, y, depth in this sample's pixels."""
        from facerecon.data.datasets.zhu import project_zhu

        return project_zhu(vertices, self.pose_para, self.image_height, pixel_origin=self.pixel_origin)


def to_pixel_origin(points: np.ndarray | None, stored: str, wanted: str) -> np.ndarray | None:
    """Move x and y (the first two columns) from one pixel origin to another; NaN stays NaN; a copy."""
    check_choice("pixel_origin", wanted, PIXEL_ORIGINS)
    if points is None:
        return None
    moved = np.array(points, dtype=np.float64)
    moved[..., :2] += {"zero": 0, "matlab1": 1}[wanted] - {"zero": 0, "matlab1": 1}[stored]
    return moved


def box_to_pixel_origin(box: np.ndarray | None, stored: str, wanted: str) -> np.ndarray | None:
    """The same for a box (4,) x0, y0, x1, y1."""
    return None if box is None else to_pixel_origin(np.reshape(box, (2, 2)), stored, wanted).reshape(4)
