"""Back end `reference`: plain torch in float64, slow, written to be read. It defines what right means."""

from __future__ import annotations

import torch
from torch import Tensor

from facerecon.render.barycentric import fragments_at
from facerecon.render.fragments import Fragments, check_face_range, usable_faces

# Pixel-face pairs looked at together; bounds the memory.
_PAIRS = 4_000_000


def rasterize(vertices: Tensor, faces: Tensor, image_size: tuple[int, int], *, perspective: bool,
              cull_back: bool) -> Fragments:
    """See `facerecon.render.rasterize`; arguments are checked there."""
    check_face_range(faces, vertices.shape[1])
    height, width = image_size
    face_index = torch.full((len(vertices), height, width), -1, dtype=torch.int64, device=vertices.device)
    with torch.no_grad():
        for b, mesh in enumerate(vertices.detach().double()):
            kept = torch.nonzero(usable_faces(mesh, faces, perspective=perspective)).squeeze(-1)
            corners = mesh[faces[kept].long()]
            low, high = corners[..., 1].amin(-1), corners[..., 1].amax(-1)
            for row in range(height):
                here = torch.nonzero((low <= row) & (high >= row)).squeeze(-1)
                face_index[b, row] = _nearest_in_row(corners[here], kept[here], row, width, perspective, cull_back)
    return fragments_at(vertices, faces, face_index, perspective=perspective)


def _nearest_in_row(corners: Tensor, names: Tensor, row: int, width: int, perspective: bool, cull_back: bool) -> Tensor:
    nearest = torch.full((width,), torch.inf, dtype=torch.float64, device=corners.device)
    winner = torch.full((width,), -1, dtype=torch.int64, device=corners.device)
    px = torch.arange(width, dtype=torch.float64, device=corners.device)[:, None]
    step = max(1, _PAIRS // width)
    for start in range(0, len(names), step):
        depth = _depth_where_covered(corners[start:start + step], px, row, perspective, cull_back)
        # min takes the first of equal depths only by chance; the lowest index is asked for.
        best = depth.amin(1)
        first = (depth == best[:, None]).int().argmax(1)
        closer = best < nearest
        nearest = torch.where(closer, best, nearest)
        winner = torch.where(closer, names[start:start + step][first], winner)
    return winner


def _depth_where_covered(corners: Tensor, px: Tensor, py: int, perspective: bool, cull_back: bool) -> Tensor:
    """(W, F) depth at the pixels of a row, infinite where the face does not own the pixel."""
    x, y, z = (corners[:, corner].unbind(-1) for corner in range(3))
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = x, y, z
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    edges, owned = [], area != 0
    if cull_back:
        owned = owned & (area < 0)
    for ax, ay, bx, by in ((x1, y1, x2, y2), (x2, y2, x0, y0), (x0, y0, x1, y1)):
        edge = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
        along_x, along_y = (bx - ax) * area.sign(), (by - ay) * area.sign()
        left_or_top = (along_y < 0) | ((along_y == 0) & (along_x > 0))
        inside = edge * area.sign()
        owned = owned & ((inside > 0) | ((inside == 0) & left_or_top))
        edges.append(edge)
    e0, e1, e2 = edges
    total = torch.where(owned, e0 + e1 + e2, torch.ones_like(e0))
    depth = total / (e0 / z0 + e1 / z1 + e2 / z2) if perspective else (e0 * z0 + e1 * z1 + e2 * z2) / total
    return torch.where(owned, depth, torch.full_like(depth, torch.inf))
