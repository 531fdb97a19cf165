"""Texture lookup: colours of the visible surface from its texture atlas."""

from __future__ import annotations

import torch
from torch import Tensor

from facerecon.checks import check_shape
from facerecon.render.fragments import Fragments


def sample_texture(fragments: Fragments, uv: Tensor, uv_faces: Tensor, texture: Tensor) -> Tensor:
    """Colours of the visible surface, bilinear in the texture.

    Args:
        fragments: from `rasterize`, of a mesh whose triangles are in the order of `uv_faces`.
        uv: (T, 2), u right, v up, in [0, 1]; (0, 0) is the texture's bottom left corner.
        uv_faces: (F, 3) int64 into `uv`.
        texture: (Ht, Wt, C) float; its first row is the top.

    Returns:
        (B, H, W, C), 0 in the background. Differentiable in texture, uv and barycentrics.
    """
    check_shape("uv", uv, (None, 2))
    check_shape("uv_faces", uv_faces, (None, 3))
    check_shape("texture", texture, (None, None, None))
    mask = fragments.mask
    corners = uv[uv_faces[fragments.face_index[mask]]]
    place = (fragments.barycentric[mask][..., None].to(corners.dtype) * corners).sum(1)
    # grid_sample counts from edge to edge with y down, which is u, v with v turned over.
    grid = torch.stack([2 * place[:, 0] - 1, 1 - 2 * place[:, 1]], -1)[None, None]
    colours = torch.nn.functional.grid_sample(texture.permute(2, 0, 1)[None], grid, mode="bilinear", padding_mode="border",
                                              align_corners=False)[0, :, 0].T
    image = texture.new_zeros(*mask.shape, texture.shape[2])
    image[mask] = colours
    return image
