"""Normals of triangle meshes."""

from __future__ import annotations

import torch
from torch import Tensor

from facerecon.checks import check_shape
from facerecon.errors import ArgumentError


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Face normals times twice the face area: (..., V, 3), (F, 3) -> (..., F, 3), by plain autograd.

    Faces are counter-clockwise seen from outside, so the normals point out.
    """
    check_shape("vertices", vertices, ("...", None, 3))
    check_shape("faces", faces, (None, 3))
    a, b, c = (vertices.index_select(-2, faces[:, corner].long()) for corner in range(3))
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit vertex normals: the area-weighted mean of the normals of the faces around each vertex.

    Args:
        vertices: (..., V, 3), float32 or float64, any unit.
        faces: (F, 3) integer, counter-clockwise seen from outside.

    Returns:
        (..., V, 3), in the frame of the vertices. A vertex without faces, or whose faces cancel, gets the zero vector.
        Differentiable in the vertices (once), with finite gradients at degenerate vertices.

    Raises:
        ArgumentError: `shape_invalid`, `dtype_invalid`, or `argument_invalid` for an index outside the vertices.
    """
    check_shape("vertices", vertices, ("...", None, 3))
    check_shape("faces", faces, (None, 3))
    if vertices.dtype not in (torch.float32, torch.float64):
        raise ArgumentError(f"vertices: wanted float32 or float64, got {vertices.dtype}", code="dtype_invalid")
    if faces.is_floating_point() or faces.dtype == torch.bool:
        raise ArgumentError(f"faces: wanted integers, got {faces.dtype}", code="dtype_invalid")
    faces = faces.to(vertices.device)
    batch = vertices.reshape(-1, *vertices.shape[-2:])
    if vertices.device.type == "cpu":
        sums = _NormalSums.apply(batch, faces)
    else:
        flat = face_normals(batch, faces)
        sums = torch.zeros_like(batch)
        for corner in range(3):
            sums = sums.index_add(1, faces[:, corner].long(), flat)
    # The squared length is kept away from zero so that neither the root nor its gradient is infinite.
    squared = (sums * sums).sum(-1, keepdim=True)
    tiny = torch.finfo(sums.dtype).tiny
    length = squared.clamp_min(tiny).sqrt()
    unit = torch.where(squared > tiny, sums / length, torch.zeros_like(sums))
    return unit.reshape(vertices.shape)


class _NormalSums(torch.autograd.Function):
    """Sum of face cross products at each vertex, by compiled loops (CPU)."""

    @staticmethod
    def forward(ctx, vertices, faces):
        from facerecon.geometry.normals_numba import normal_sums

        ctx.save_for_backward(vertices, faces)
        return normal_sums(vertices, faces)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        from facerecon.geometry.normals_numba import normal_sums_backward

        vertices, faces = ctx.saved_tensors
        return normal_sums_backward(vertices, faces, gradient), None
