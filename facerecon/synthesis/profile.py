"""Face profiling: a fitted photo turned to larger yaw, with its background, as 300W-LP was made.

Zhu, Lei, Liu, Shi, Li: Face alignment across large poses: a 3D solution, CVPR 2016, section 5 (thesis section 1.5.2). The head
is the model's own surface under the photo, the rest of the picture a mesh of anchors that gives way to it. What the photo does
not show comes from the mirrored half of the face, the hair along the outline, and the model's albedo.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence

import numpy as np
import torch

from facerecon.checks import check_range, check_shape
from facerecon.detection import CropRule
from facerecon.errors import ArgumentError, FitError
from facerecon.fitting.threads import one_thread
from facerecon.geometry import ScaledOrthographicPose
from facerecon.geometry.rotations import euler_deg_to_matrix_aflw, matrix_to_euler_deg_aflw
from facerecon.morphable import FaceParameters, MorphableModel
from facerecon.detection import pose_to_crop
from facerecon.render import turned_light
from facerecon.synthesis.heads import MARGIN
from facerecon.synthesis.profile_head import HeadSurface, head_surface
from facerecon.synthesis.profile_sheet import Sheet, surrounding_sheet
from facerecon.synthesis.profile_window import PIVOT_MM, cut_window
from facerecon.synthesis.sample import SyntheticFace
from facerecon.synthesis.truth import label_face

YAW_LIMIT_DEG = 90.0
# A face within this yaw is turned to both sides.
FRONTAL_DEG = 10.0
JITTER = 0.025


class Profiler:
    """One fitted photo, ready to be turned.

    Args:
        model: the model of the fit, on the CPU.
        pixels: (H, W, 3) uint8 RGB, the upright photo.
        parameters: of the head, pose in px of the photo, with the light and albedo of a photometric fit or without.
        size: side of the pictures to be made, px.

    Raises:
        ArgumentError: pixels of another shape or dtype, or a head that lies outside the photo.
    """

    def __init__(self, model: MorphableModel, pixels: np.ndarray, parameters: FaceParameters, *, size: int = 192) -> None:
        check_shape("pixels", pixels, (None, None, 3))
        if pixels.dtype != np.uint8:
            raise ArgumentError(f"pixels: wanted uint8, got {pixels.dtype}", code="dtype_invalid")
        check_range("size", size, 32, 1024)
        self.model, self.size = model, int(size)
        with one_thread():
            window = cut_window(model, pixels, parameters, size=self.size)
            if not window.inside.any():
                raise ArgumentError("parameters: the photo shows nothing of this head; the pose must be in px of this photo")
            self.head: HeadSurface = head_surface(model, window)
            self.sheet: Sheet = surrounding_sheet(self.head)

    @property
    def euler_deg(self) -> tuple[float, float, float]:
        """Pitch, yaw and roll of the photo, AFLW2000-3D's convention."""
        return tuple(float(angle) for angle in matrix_to_euler_deg_aflw(self.head.window.parameters.pose.rotation.double()))

    def turned(self, yaw_deg: float) -> FaceParameters:
        """Parameters, in px of the window, of the head at `yaw_deg`; pitch and roll stay, the light turns with it."""
        window = self.head.window
        old = window.parameters.pose
        pitch, _, roll = self.euler_deg
        rotation = euler_deg_to_matrix_aflw(*torch.tensor([pitch, yaw_deg, roll], dtype=torch.float64))
        pivot = torch.tensor(PIVOT_MM, dtype=torch.float64)
        translation = torch.from_numpy(window.pivot[:2]) - old.scale.double() * (rotation @ pivot)[:2]
        pose = ScaledOrthographicPose(rotation.float(), translation.float(), old.scale)
        turn = rotation @ old.rotation.double().T
        return window.parameters.replace(pose=pose, illumination=turned_light(window.parameters.illumination, turn))

    def picture(self, parameters: FaceParameters, pose: ScaledOrthographicPose) -> np.ndarray:
        """(S, S, 3) uint8: the head at `parameters` (px of the window), cut out as `pose` (px of the picture) says."""
        window = self.head.window
        turn = parameters.pose.rotation.double() @ window.parameters.pose.rotation.double().T
        anchors = self.sheet.moved(turn.numpy(), window.pivot)
        behind = self.sheet.draw(anchors, pose, parameters.pose, self.size)
        image, covered = self.head.draw(pose, self.size)
        mixed = behind + covered[..., None] * (image - behind)
        return (mixed.clip(0, 1) * 255 + 0.5).astype(np.uint8)

    def view(self, yaw_deg: float, *, generator: np.random.Generator, name: str, subject: str | None = None,
             maps: Collection[str] = ("pncc",)) -> SyntheticFace:
        """The photo turned to `yaw_deg`, cropped as a detector would, with its ground truth.

        Args:
            yaw_deg: of AFLW2000-3D, at most 90 to either side; the photo's own gives the photo again.
            generator: of the crop's margin and place.
            name, subject, maps: see `SyntheticFace`.
        """
        check_range("yaw_deg", float(yaw_deg), -YAW_LIMIT_DEG, YAW_LIMIT_DEG)
        with torch.no_grad(), one_thread():
            parameters = self.turned(yaw_deg)
            points = self.model.landmarks("ibug68", parameters.identity, parameters.expression)
            placed = parameters.pose.project(points)[:, :2].double().numpy()
            box = np.concatenate([placed.min(axis=0), placed.max(axis=0)])
            away = generator.normal(size=2) * JITTER * max(box[2:] - box[:2])
            crop = CropRule(margin=generator.uniform(*MARGIN)).crop(box + np.tile(away, 2), size=self.size, box_of="points")
            pose = pose_to_crop(parameters.pose, crop)
            image = self.picture(parameters, pose)
            return label_face(self.model, parameters.replace(pose=pose), image, name=name, subject=subject, maps=maps)


def profile_views(model: MorphableModel, pixels: np.ndarray, parameters: FaceParameters, *,
                  yaws_deg: Sequence[float] | None = None, size: int = 192, seed: int = 0, name: str = "photo",
                  subject: str | None = None, maps: Collection[str] = ("pncc",)) -> list[SyntheticFace]:
    """A fitted photo at larger yaws.

    Args:
        model: of the fit.
        pixels: (H, W, 3) uint8 RGB, the upright photo.
        parameters: from `fit_landmarks` or `refine_photometric`, pose in px of the photo.
        yaws_deg: to turn to; None: `larger_yaws` of the photo's.
        size: side of the pictures, px.
        seed: of the crops, together with `name` and the yaw; nothing else is random.
        name: of the photo; the pictures are called `<name>_yaw+025.jpg`.
        subject, maps: see `SyntheticFace`.

    Returns:
        One face per yaw. The same arguments give the same bytes.

    Raises:
        ArgumentError: see `Profiler`; a yaw beyond 90 degrees. FitError: `fit_failed` for parameters that are not finite.
    """
    pose = parameters.pose
    if not all(bool(part.isfinite().all()) for part in (pose.rotation, pose.translation, pose.scale)):
        raise FitError(f"{name}: wanted a finite pose; fit the photo again", code="fit_failed")
    profiler = Profiler(model, pixels, parameters, size=size)
    yaws = larger_yaws(profiler.euler_deg[1]) if yaws_deg is None else yaws_deg
    faces = []
    for yaw in yaws:
        called = f"{name}_yaw{yaw:+04.0f}"
        generator = np.random.default_rng([seed, zlib.crc32(called.encode())])
        faces.append(profiler.view(yaw, generator=generator, name=f"{called}.jpg", subject=subject, maps=maps))
    return faces


def larger_yaws(yaw_deg: float, *, step_deg: float = 15.0, limit_deg: float = YAW_LIMIT_DEG) -> tuple[float, ...]:
    """Yaws to turn a photo to: multiples of `step_deg` beyond its own by half a step or more, up to `limit_deg`.

    A photo is turned away from the camera on the side where it already looks, so that what it does not show stays hidden; one
    within 10 degrees of the front is turned to both sides.
    """
    check_range("step_deg", float(step_deg), 1.0, 90.0)
    check_range("limit_deg", float(limit_deg), 0.0, YAW_LIMIT_DEG)
    steps = [step_deg * k for k in range(1, int(limit_deg / step_deg + 1e-9) + 1)]
    sides = (-1.0, 1.0) if abs(yaw_deg) <= FRONTAL_DEG else (float(np.sign(yaw_deg)),)
    return tuple(side * yaw for side in sides for yaw in steps if yaw >= side * yaw_deg + step_deg / 2)
