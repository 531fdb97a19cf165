"""Compiled loops behind `vertex_normals` on the CPU; imported at first use, since numba takes time to load."""

from __future__ import annotations

import torch
from torch import Tensor

from facerecon.errors import ArgumentError
from facerecon.geometry.compiled import compiled, run_jobs


def normal_sums(vertices: Tensor, faces: Tensor) -> Tensor:
    """(B, V, 3), (F, 3) -> (B, V, 3) sums of the face cross products at the vertices (no autograd)."""
    sums = torch.zeros_like(vertices, memory_format=torch.contiguous_format)
    source, out, index = vertices.detach().contiguous().numpy(), sums.numpy(), faces.contiguous().numpy()
    inside = run_jobs([(_sum_normals, (source[b], index, out[b])) for b in range(len(source))])
    if not all(inside):
        raise ArgumentError(f"faces: wanted indices from 0 to {vertices.shape[1] - 1}, got others")
    return sums


def normal_sums_backward(vertices: Tensor, faces: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of `normal_sums` with respect to the vertices, (B, V, 3)."""
    result = torch.zeros_like(vertices, memory_format=torch.contiguous_format)
    source, index, out = vertices.detach().contiguous().numpy(), faces.contiguous().numpy(), result.numpy()
    given = gradient.detach().contiguous().numpy()
    run_jobs([(_sum_normals_backward, (source[b], index, given[b], out[b])) for b in range(len(source))])
    return result


@compiled
def _sum_normals(vertices, faces, out):
    count = vertices.shape[0]
    inside = True
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if a < 0 or b < 0 or c < 0 or a >= count or b >= count or c >= count:
            inside = False
            continue
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            out[k, 0] += nx
            out[k, 1] += ny
            out[k, 2] += nz
    return inside


@compiled
def _sum_normals_backward(vertices, faces, gradient, out):
    # n = u x v with u = b - a, v = c - a; for g = dL/dn: dL/du = v x g, dL/dv = g x u, dL/da = -(dL/du + dL/dv).
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        gx = gradient[a, 0] + gradient[b, 0] + gradient[c, 0]
        gy = gradient[a, 1] + gradient[b, 1] + gradient[c, 1]
        gz = gradient[a, 2] + gradient[b, 2] + gradient[c, 2]
        px, py, pz = vy * gz - vz * gy, vz * gx - vx * gz, vx * gy - vy * gx
        qx, qy, qz = gy * uz - gz * uy, gz * ux - gx * uz, gx * uy - gy * ux
        out[b, 0] += px
        out[b, 1] += py
        out[b, 2] += pz
        out[c, 0] += qx
        out[c, 1] += qy
        out[c, 2] += qz
        out[a, 0] -= px + qx
        out[a, 1] -= py + qy
        out[a, 2] -= pz + qz
    return True
