"""Cameras: scaled orthographic pose, MoFA's pinhole, and conversions to other programs' axes.

Camera frame: x right, y down, z forward (OpenCV). Pixels: the origin is the centre of the top-left pixel, so pixel (row i,
column j) covers [j - .5, j + .5] x [i - .5, i + .5]. Model frame: +x image right for a frontal face, +y up, +z out of the
face; a frontal face therefore has R = diag(1, -1, -1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from facerecon.checks import check_choice, check_range, check_shape
from facerecon.errors import ArgumentError
from facerecon.geometry.rotations import matrix_to_euler_deg_aflw, matrix_to_quaternion, quaternion_to_matrix

# Diagonals that turn the camera frame (x right, y down, z forward) into another program's.
_AXES = {
    "opencv": (1.0, 1.0, 1.0),
    "opengl": (1.0, -1.0, -1.0),
    "pytorch3d": (-1.0, -1.0, 1.0),
    "blender": (1.0, -1.0, -1.0),
}


@dataclass(frozen=True)
class ScaledOrthographicPose:
    """Pose of a head under scaled orthographic projection: p = s R v + (tx, ty, 0).

    Attributes:
        rotation: (..., 3, 3), model frame to camera frame.
        translation: (..., 2), in pixels: where the model's origin lands.
        scale: (...), in pixels per model unit, positive.

    The leading axes of the three are equal. Differentiable in all of them.
    """

    rotation: Tensor
    translation: Tensor
    scale: Tensor

    perspective = False

    def __post_init__(self) -> None:
        check_shape("rotation", self.rotation, ("...", 3, 3))
        check_shape("translation", self.translation, ("...", 2))
        lead = self.rotation.shape[:-2]
        if self.translation.shape[:-1] != lead or not hasattr(self.scale, "shape") or self.scale.shape != lead:
            got = [tuple(getattr(part, "shape", ())) for part in (self.rotation, self.translation, self.scale)]
            raise ArgumentError(f"pose: wanted rotation (..., 3, 3), translation (..., 2), scale (...) as tensors with equal "
                                f"leading axes, got {got}", code="shape_invalid")

    @classmethod
    def frontal(cls, *, scale: float = 1.0, translation: tuple[float, float] = (0.0, 0.0),
                dtype: torch.dtype = torch.float32) -> ScaledOrthographicPose:
        """A face that looks straight into the camera, with its origin at `translation`."""
        return cls(torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=dtype)), torch.tensor(translation, dtype=dtype),
                   torch.tensor(scale, dtype=dtype))

    def project(self, vertices: Tensor) -> Tensor:
        """Model vertices (..., V, 3) to (..., V, 3): x and y in pixels, depth in pixels growing away from the camera."""
        check_shape("vertices", vertices, ("...", None, 3))
        turned = vertices @ (self.scale[..., None, None] * self.rotation).mT
        return turned + torch.nn.functional.pad(self.translation, (0, 1))[..., None, :]

    def light_frame(self, normals: Tensor) -> Tensor:
        """Model-space normals (..., V, 3) to the frame of the light: x right, y up, z toward the viewer."""
        return _light_frame(self.rotation, normals)

    def flipped(self, width: float) -> ScaledOrthographicPose:
        """Pose of the mirrored model (x negated) in the mirrored image (x -> width - 1 - x); twice is the identity."""
        mirror = torch.tensor([-1.0, 1.0, 1.0], dtype=self.rotation.dtype, device=self.rotation.device)
        x, y = self.translation.unbind(-1)
        return ScaledOrthographicPose(mirror[:, None] * self.rotation * mirror, torch.stack([width - 1 - x, y], -1), self.scale)

    def scaled_image(self, factor: float) -> ScaledOrthographicPose:
        """Pose in the image resized by `factor`: x -> (x + 1/2) factor - 1/2, since the edges of the image stay in place."""
        check_range("factor", factor, 1e-9)
        return ScaledOrthographicPose(self.rotation, (self.translation + 0.5) * factor - 0.5, self.scale * factor)

    def shifted(self, dx: float, dy: float) -> ScaledOrthographicPose:
        """Pose in an image whose content moved by (dx, dy) pixels; a crop with corner (x0, y0) has (-x0, -y0)."""
        offset = torch.tensor([dx, dy], dtype=self.translation.dtype, device=self.translation.device)
        return ScaledOrthographicPose(self.rotation, self.translation + offset, self.scale)

    def to(self, *arguments: Any) -> ScaledOrthographicPose:
        """The same pose in another dtype or on another device."""
        return ScaledOrthographicPose(self.rotation.to(*arguments), self.translation.to(*arguments), self.scale.to(*arguments))

    def detach(self) -> ScaledOrthographicPose:
        """The same pose outside autograd."""
        return ScaledOrthographicPose(self.rotation.detach(), self.translation.detach(), self.scale.detach())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values of one pose: rotation, translation, scale, quaternion (x, y, z, w), euler_deg (AFLW2000-3D)."""
        check_shape("rotation", self.rotation, (3, 3))
        return {
            "rotation": self.rotation.detach().tolist(),
            "translation": self.translation.detach().tolist(),
            "scale": float(self.scale.detach()),
            **_rotation_readings(self.rotation),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, dtype: torch.dtype = torch.float32) -> ScaledOrthographicPose:
        """The inverse of `to_dict`. `rotation` is the truth; the quaternion is used when there is no rotation.

        Raises:
            ArgumentError: `argument_invalid` for a missing or non-numeric entry, `shape_invalid`, `nonfinite`.
        """
        rotation, translation, scale = _read_pose(values, ("translation", "scale"), dtype)
        return cls(rotation, translation, scale)


@dataclass(frozen=True)
class PerspectiveCamera:
    """A pinhole under full perspective: X = R v + t, x = f X / Z + cx, y = f Y / Z + cy.

    Attributes:
        focal: (...), in pixels.
        principal: (..., 2), in pixels (pixel centres at integers; the middle of a W x H image is ((W-1)/2, (H-1)/2)).
        rotation: (..., 3, 3), model frame to camera frame.
        translation: (..., 3), in model units; a face in front of the camera has positive z.

    MoFA (Tewari et al., ICCV 2017) writes the camera as a rigid motion (T, t) of the world with the map T^-1 (v - t);
    `from_mofa` converts.
    """

    focal: Tensor
    principal: Tensor
    rotation: Tensor
    translation: Tensor

    perspective = True

    def __post_init__(self) -> None:
        check_shape("principal", self.principal, ("...", 2))
        check_shape("rotation", self.rotation, ("...", 3, 3))
        check_shape("translation", self.translation, ("...", 3))
        if not hasattr(self.focal, "shape"):
            raise ArgumentError(f"focal: wanted a tensor, got {type(self.focal).__name__}", code="shape_invalid")

    @classmethod
    def from_mofa(cls, focal: Tensor, principal: Tensor, rotation: Tensor, translation: Tensor) -> PerspectiveCamera:
        """From MoFA's rigid motion of the camera: `rotation` (..., 3, 3) and `translation` (..., 3) in the model frame.

        `rotation` holds the camera's axes (x right, y down, z forward) as columns, `translation` its centre.
        """
        inverse = rotation.mT
        return cls(focal, principal, inverse, -(inverse @ translation[..., None]).squeeze(-1))

    def project(self, vertices: Tensor) -> Tensor:
        """Model vertices (..., V, 3) to (..., V, 3): x and y in pixels, z the depth before the camera in model units.

        Points at or behind the camera have z <= 0 and an x, y without meaning, but finite; `render.rasterize` drops
        their triangles.
        """
        check_shape("vertices", vertices, ("...", None, 3))
        x, y, z = (vertices @ self.rotation.mT + self.translation[..., None, :]).unbind(-1)
        tiny = 1e-6
        inverse = self.focal[..., None] / torch.where(z.abs() < tiny, torch.full_like(z, tiny), z)
        cx, cy = self.principal[..., :1], self.principal[..., 1:]
        return torch.stack([x * inverse + cx, y * inverse + cy, z], -1)

    def light_frame(self, normals: Tensor) -> Tensor:
        """Model-space normals (..., V, 3) to the frame of the light: x right, y up, z toward the viewer."""
        return _light_frame(self.rotation, normals)

    def flipped(self, width: float) -> PerspectiveCamera:
        """Camera of the mirrored model (x negated) in the mirrored image; twice is the identity."""
        mirror = torch.tensor([-1.0, 1.0, 1.0], dtype=self.rotation.dtype, device=self.rotation.device)
        x, y = self.principal.unbind(-1)
        return PerspectiveCamera(self.focal, torch.stack([width - 1 - x, y], -1), mirror[:, None] * self.rotation * mirror,
                                 mirror * self.translation)

    def scaled_image(self, factor: float) -> PerspectiveCamera:
        """Camera of the image resized by `factor`; the depth keeps its unit."""
        check_range("factor", factor, 1e-9)
        return PerspectiveCamera(self.focal * factor, (self.principal + 0.5) * factor - 0.5, self.rotation, self.translation)

    def shifted(self, dx: float, dy: float) -> PerspectiveCamera:
        """Camera of an image whose content moved by (dx, dy) pixels."""
        offset = torch.tensor([dx, dy], dtype=self.principal.dtype, device=self.principal.device)
        return PerspectiveCamera(self.focal, self.principal + offset, self.rotation, self.translation)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values of one camera: rotation, translation, focal, principal, quaternion, euler_deg."""
        check_shape("rotation", self.rotation, (3, 3))
        return {
            "rotation": self.rotation.detach().tolist(),
            "translation": self.translation.detach().tolist(),
            "focal": float(self.focal.detach()),
            "principal": self.principal.detach().tolist(),
            **_rotation_readings(self.rotation),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, dtype: torch.dtype = torch.float32) -> PerspectiveCamera:
        """The inverse of `to_dict`; errors as in `ScaledOrthographicPose.from_dict`."""
        rotation, translation, focal, principal = _read_pose(values, ("translation", "focal", "principal"), dtype)
        return cls(focal, principal, rotation, translation)


def camera_to(target: str, rotation: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
    """A camera rotation and translation in another program's convention.

    Args:
        target: one of
            `opencv`: camera x right, y down, z forward; X = R v + t (what goes in);
            `opengl`: view transform, camera x right, y up, z toward the viewer; X = R v + t;
            `pytorch3d`: camera x left, y up, z forward, row vectors; X = v R + t;
            `blender`: pose of the camera object in Blender's z-up world (model imported as OBJ or glTF, so that model
            (x, y, z) is world (x, -z, y)): columns of R are the camera's axes, t its position.
        rotation: (..., 3, 3) and translation: (..., 3), of X = R v + t with the OpenCV axes. For a scaled orthographic
            pose take any z that puts the camera before the face; its x and y are the pose's divided by the scale.

    Returns:
        rotation (..., 3, 3) and translation (..., 3).
    """
    check_choice("target", target, tuple(_AXES))
    check_shape("rotation", rotation, ("...", 3, 3))
    check_shape("translation", translation, ("...", 3))
    axes = torch.tensor(_AXES[target], dtype=rotation.dtype, device=rotation.device)
    turned, moved = axes[:, None] * rotation, axes * translation
    if target == "pytorch3d":
        return turned.mT, moved
    if target == "blender":
        rows = [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]
        world = torch.tensor(rows, dtype=rotation.dtype, device=rotation.device) @ turned.mT
        return world, -(world @ moved[..., None]).squeeze(-1)
    return turned, moved


def _light_frame(rotation: Tensor, normals: Tensor) -> Tensor:
    check_shape("normals", normals, ("...", None, 3))
    signs = torch.tensor([1.0, -1.0, -1.0], dtype=rotation.dtype, device=rotation.device)
    return normals @ (signs[:, None] * rotation).mT


def _rotation_readings(rotation: Tensor) -> dict[str, Any]:
    # Adding 0 turns -0.0 into 0.0, which reads better in JSON.
    exact = rotation.detach().double()
    euler = matrix_to_euler_deg_aflw(exact)
    return {
        "quaternion": matrix_to_quaternion(exact).tolist(),
        "euler_deg": {name: float(value) + 0.0 for name, value in euler._asdict().items()},
    }


def _read_pose(values: dict[str, Any], names: tuple[str, ...], dtype: torch.dtype) -> list[Tensor]:
    try:
        if "rotation" in values:
            rotation = torch.tensor(values["rotation"], dtype=dtype)
        else:
            rotation = quaternion_to_matrix(torch.tensor(values["quaternion"], dtype=torch.float64)).to(dtype)
        parts = [rotation, *(torch.tensor(values[name], dtype=dtype) for name in names)]
    except (KeyError, TypeError, ValueError) as error:
        wanted = ", ".join(("rotation or quaternion", *names))
        raise ArgumentError(f"pose: wanted a mapping with numbers for {wanted}; {type(error).__name__}: {error}") from error
    if not all(math.isfinite(float(part.abs().sum())) for part in parts):
        raise ArgumentError("pose: wanted finite numbers, got NaN or infinite ones", code="nonfinite")
    return parts
