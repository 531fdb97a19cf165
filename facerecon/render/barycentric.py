"""Barycentrics and depth at known faces in plain torch: differentiable by autograd, on any device.

The back ends that only settle visibility (`reference`, `pytorch3d`) end here. The formula is written independently of the
analytic gradient in `numba_loops`, which is tested against it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facerecon.render.fragments import Fragments


def fragments_at(vertices: Tensor, faces: Tensor, face_index: Tensor, *, perspective: bool) -> Fragments:
    """Fill in barycentrics and depth for (B, H, W) face indices; works in float64, returns the dtype of `vertices`."""
    batch, height, width = face_index.shape
    image, row, column = torch.nonzero(face_index >= 0, as_tuple=True)
    corners = faces.long()[face_index[image, row, column]]
    points = vertices[image[:, None], corners].double()
    x, y, z = points.unbind(-1)
    px, py = column.double()[:, None], row.double()[:, None]
    # Edge functions opposite each corner, the pixel taken as the origin.
    dx, dy = x - px, y - py
    edges = torch.stack([dx[:, a] * dy[:, b] - dy[:, a] * dx[:, b] for a, b in ((1, 2), (2, 0), (0, 1))], -1)
    if perspective:
        edges = edges / z
    weights = edges / edges.sum(-1, keepdim=True)
    values = torch.cat([weights, (weights * z).sum(-1, keepdim=True)], -1).to(vertices.dtype)
    blank = vertices.new_zeros(batch, height, width, 4)
    filled = blank.index_put((image, row, column), values)
    return Fragments(face_index, filled[..., :3], filled[..., 3])
