"""What a rasteriser returns, what it accepts, and what it drops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from facerecon.checks import check_shape
from facerecon.errors import ArgumentError

# Beyond this magnitude (pixels, or the unit of depth) float64 edge functions lose the pixel; such vertices make no picture.
COORDINATE_LIMIT = 1e9
# Under perspective a vertex at or behind the camera has no image; depths below this count as there.
NEAREST_DEPTH = 1e-6
# Pixel positions are packed in 15 bits.
LARGEST_SIDE = 32767


@dataclass(frozen=True)
class Fragments:
    """Which face each pixel shows, and where on it.

    Attributes:
        face_index: (B, H, W) int64; -1 is background.
        barycentric: (B, H, W, 3), weights of the face's corners in the order of `faces`; 0 in the background. Sums to 1.
            Differentiable in the vertices, the visible face held fixed.
        depth: (B, H, W), in the unit of the vertices' z, growing away from the camera; 0 in the background (a depth may
            be 0 or negative too: ask `mask`). Differentiable likewise.
    """

    face_index: Tensor
    barycentric: Tensor
    depth: Tensor

    @property
    def mask(self) -> Tensor:
        """(B, H, W) bool: True where a face is visible."""
        return self.face_index >= 0


class DroppedFaces(NamedTuple):
    """Faces (B,) that no rasteriser draws, each counted under the first reason that holds."""

    nonfinite: Tensor
    too_large: Tensor
    behind_camera: Tensor
    zero_area: Tensor


def count_dropped(vertices: Tensor, faces: Tensor, *, perspective: bool = False) -> DroppedFaces:
    """Count the faces that `rasterize` drops for the same arguments.

    A face is dropped when a vertex is NaN or infinite, beyond 1e9 in magnitude, or (under perspective) not in front of the
    camera; a face without area covers no pixel. Not differentiable.
    """
    vertices, faces = check_mesh(vertices, faces)
    check_face_range(faces, vertices.shape[1])
    corners = vertices.detach().double()[:, faces]
    nonfinite = ~corners.isfinite().all(-1).all(-1)
    too_large = ~nonfinite & (corners.abs() > COORDINATE_LIMIT).any(-1).any(-1)
    behind = torch.zeros_like(too_large)
    if perspective:
        behind = ~nonfinite & ~too_large & (corners[..., 2] < NEAREST_DEPTH).any(-1)
    a, b, c = corners[..., :2].unbind(-2)
    area = (b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0]
    flat = ~nonfinite & ~too_large & ~behind & (area == 0)
    return DroppedFaces(*(reason.sum(-1) for reason in (nonfinite, too_large, behind, flat)))


def usable_faces(vertices: Tensor, faces: Tensor, *, perspective: bool) -> Tensor:
    """(F,) bool: which faces of one mesh (V, 3) have only vertices that can be drawn."""
    good = (vertices.abs() <= COORDINATE_LIMIT).all(-1)
    if perspective:
        good &= vertices[:, 2] >= NEAREST_DEPTH
    return good[faces].all(-1)


def check_mesh(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Require (B, V, 3) or (V, 3) float vertices and (F, 3) integer faces; returns (B, V, 3) and faces on their device.

    The range of the face indices is not looked at here, since the fast back end checks it on its way.
    """
    check_shape("vertices", vertices, ("...", None, 3))
    check_shape("faces", faces, (None, 3))
    if vertices.ndim not in (2, 3):
        raise ArgumentError(f"vertices: wanted shape (V, 3) or (B, V, 3), got {tuple(vertices.shape)}", code="shape_invalid")
    if vertices.dtype not in (torch.float32, torch.float64):
        raise ArgumentError(f"vertices: wanted float32 or float64, got {vertices.dtype}", code="dtype_invalid")
    if faces.dtype not in (torch.int64, torch.int32):
        raise ArgumentError(f"faces: wanted int64 or int32, got {faces.dtype}", code="dtype_invalid")
    return (vertices if vertices.ndim == 3 else vertices[None]), faces.to(vertices.device)


def check_face_range(faces: Tensor, count: int) -> None:
    """Require every index to name one of `count` vertices."""
    if faces.numel() and (int(faces.min()) < 0 or int(faces.max()) >= count):
        raise bad_face_range(count)


def bad_face_range(count: int) -> ArgumentError:
    """The error for faces that name vertices which are not there."""
    return ArgumentError(f"faces: wanted (the faces that were rasterised, with) indices of the {count} vertices, 0 to "
                         f"{count - 1}, got others")


def check_image_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """Require (H, W), whole numbers from 1 to 32767."""
    try:
        height, width = image_size
        good = int(height) == height and int(width) == width
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good or not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise ArgumentError(f"image_size: wanted (height, width), whole numbers from 1 to {LARGEST_SIDE}, got {image_size!r}")
    return int(height), int(width)
