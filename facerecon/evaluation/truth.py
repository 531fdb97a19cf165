"""Ground truth of AFLW2000-3D and its kind: landmarks, head pose, and the dense mesh that the parameters stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from facerecon.checks import check_choice, check_shape
from facerecon.errors import ArgumentError
from facerecon.metrics.pose import CAMERA_FLIP, rotation_from_euler_deg

if TYPE_CHECKING:
    from facerecon.data.datasets import MorphableSample

PIXEL_ORIGINS = ("zero", "matlab1")


@dataclasses.dataclass(frozen=True)
class FaceTruth:
    """What is known about the face of one image.

    Points are in the project's pixel convention (centre of the top-left pixel at (0, 0), y down, depth growing away from the
    camera); parameters are the raw numbers of the data set.

    Attributes:
        name: the image's name without suffix. image_size: (width, height) px, 450 x 450 throughout the data set.
        landmarks68: (68, 3). euler_deg: pitch, yaw, roll as stored, not wrapped. rotation: (3, 3) camera rotation.
        shape: (199,), expression: (29,) raw coefficients; translation: (3,) and scale: of Q = scale * R S + translation, in
            the dataset's frame (1-based, y up), for a model in micrometres.
    """

    name: str
    image_size: tuple[int, int]
    landmarks68: np.ndarray
    euler_deg: np.ndarray
    rotation: np.ndarray
    shape: np.ndarray
    expression: np.ndarray
    translation: np.ndarray
    scale: float


def truth_from_sample(sample: MorphableSample) -> FaceTruth:
    """Truth from a sample of AFLW2000-3D or 300W-LP as the dataset readers give it."""
    check_shape("landmarks", sample.landmarks, (68, 3))
    # The readers' depth grows toward the viewer, as the data set stores it.
    points = shift_origin(np.asarray(sample.landmarks, dtype=np.float64) * [1, 1, -1], source=sample.pixel_origin, target="zero")
    pose = np.asarray(sample.pose_para, dtype=np.float64)
    return FaceTruth(name=sample.name, image_size=(sample.image_height, sample.image_height), landmarks68=points,
                     euler_deg=sample.euler_deg, rotation=CAMERA_FLIP[:, None] * rotation_from_euler_deg(sample.euler_deg),
                     shape=np.asarray(sample.shape_para, dtype=np.float64),
                     expression=np.asarray(sample.exp_para, dtype=np.float64), translation=pose[3:6], scale=float(pose[6]))


def shift_origin(points: np.ndarray, *, source: str, target: str) -> np.ndarray:
    """Move points (..., 2 or 3) between pixel origins: "matlab1" counts pixel centres from 1, "zero" from 0."""
    check_choice("source", source, PIXEL_ORIGINS)
    check_choice("target", target, PIXEL_ORIGINS)
    if source == target:
        return points
    offset = np.zeros(points.shape[-1])
    offset[:2] = -1.0 if target == "zero" else 1.0
    return points + offset


class DenseTruth:
    """The Basel mesh of each image, from its parameters: S = mean + identity a + expression e, then Q = f R S + t.

    Args:
        mean: (V, 3) mm, mean shape plus mean expression. identity: (K, V, 3) mm, expression: (E, V, 3) mm, each per unit of the
            *raw* coefficient (Shape_Para is in micrometres, so its basis here is small). K and E may be smaller than what the
            data set holds: the coefficients beyond are left out, and `title` says so.
        keypoints: (68,) vertex indices of the landmarks.
        title: names the truth in tables, such as "Basel, 40 of 199 + 10 of 29".
    """

    def __init__(self, *, mean: np.ndarray, identity: np.ndarray, expression: np.ndarray, keypoints: np.ndarray,
                 title: str) -> None:
        check_shape("mean", mean, (None, 3))
        check_shape("identity", identity, (None, len(mean), 3))
        check_shape("expression", expression, (None, len(mean), 3))
        self.keypoints = np.asarray(check_shape("keypoints", np.asarray(keypoints), (68,)), dtype=np.int64)
        self.title = title
        self.mean = np.asarray(mean, dtype=np.float64)
        self.sizes = (len(identity), len(expression))
        # One matrix in single precision: half the memory traffic, and still a ten-thousandth of a pixel.
        self._basis = np.concatenate([np.asarray(part, dtype=np.float32).reshape(len(part), 3 * len(mean))
                                      for part in (identity, expression)])

    @property
    def vertex_count(self) -> int:
        return len(self.mean)

    def shapes(self, truths: Sequence[FaceTruth]) -> np.ndarray:
        """(B, V, 3) float64 mm in model space."""
        identity, expression = self.sizes
        coefficients = np.zeros((len(truths), identity + expression), dtype=np.float32)
        for row, truth in enumerate(truths):
            if len(truth.shape) < identity or len(truth.expression) < expression:
                raise ArgumentError(f"{truth.name}: wanted at least {identity} + {expression} coefficients, got "
                                    f"{len(truth.shape)} + {len(truth.expression)}", code="shape_invalid")
            coefficients[row, :identity] = truth.shape[:identity]
            coefficients[row, identity:] = truth.expression[:expression]
        return (coefficients @ self._basis).reshape(len(truths), -1, 3) + self.mean

    def vertices(self, truths: Sequence[FaceTruth]) -> np.ndarray:
        """(B, V, 3) float64 in the project's pixel convention: px, px, depth px growing away."""
        shapes = self.shapes(truths)
        # The stored scale is for micrometres.
        matrices = np.stack([1000.0 * truth.scale * truth.rotation for truth in truths])
        projected = shapes @ np.swapaxes(matrices, -1, -2)
        # Q + t in the y-up, 1-based frame of height h + 1; here y is down and counts from 0, and depth grows away.
        projected += np.stack([[truth.translation[0] - 1, truth.image_size[1] - truth.translation[1], -truth.translation[2]]
                               for truth in truths])[:, None]
        return projected
