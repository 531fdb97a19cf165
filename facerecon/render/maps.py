"""Maps of the visible surface: PNCC, depth, normals, or any vertex attribute."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from facerecon.checks import check_shape
from facerecon.render.fragments import Fragments
from facerecon.render.interpolation import interpolate
from facerecon.render.rasterizer import rasterize


class AttributeRender(NamedTuple):
    """An interpolated image (B, H, W, C) and the fragments behind it."""

    image: Tensor
    fragments: Fragments


def render_attributes(projected: Tensor, faces: Tensor, attributes: Tensor, image_size: tuple[int, int], *,
                      backend: str = "auto", perspective: bool = False) -> AttributeRender:
    """Rasterise, then interpolate vertex attributes (B, V, C) or (V, C); 0 in the background.

    `projected` is (B, V, 3) or (V, 3): x, y in pixels, depth, as `camera.project` gives it. Differentiable in `projected`
    and `attributes`.
    """
    fragments = rasterize(projected, faces, image_size, backend=backend, perspective=perspective)
    return AttributeRender(interpolate(fragments, attributes, faces), fragments)


def render_pncc(projected: Tensor, faces: Tensor, ncc: Tensor, image_size: tuple[int, int], *, backend: str = "auto",
                perspective: bool = False) -> Tensor:
    """Projected normalised coordinate code: the NCC (V, 3) in [0, 1] drawn with the z-buffer (eq. 1.6).

    Args:
        projected: (B, V, 3) or (V, 3), from `camera.project`.
        faces: (F, 3); pass only the faces of the PNCC region to leave out the others. They then hide nothing.
        ncc: (V, 3), the mean shape normalised to [0, 1] on each axis (eq. 1.5).
        image_size: (H, W).

    Returns:
        (B, H, W, 3) in [0, 1]; background 0. Differentiable in `projected`.
    """
    check_shape("ncc", ncc, ("...", None, 3))
    return render_attributes(projected, faces, ncc, image_size, backend=backend, perspective=perspective).image


def render_depth(projected: Tensor, faces: Tensor, image_size: tuple[int, int], *, backend: str = "auto",
                 perspective: bool = False, invalid: float = float("nan")) -> Tensor:
    """Depth (B, H, W) in the unit of the projection (pixels, or model units under perspective), growing away from the camera.

    Pixels without a face hold `invalid`, NaN by default since 0 is a depth that a scaled orthographic pose can give.
    Differentiable in `projected` where a face is visible.
    """
    fragments = rasterize(projected, faces, image_size, backend=backend, perspective=perspective)
    return torch.where(fragments.mask, fragments.depth, torch.full_like(fragments.depth, invalid))


def render_normals(projected: Tensor, faces: Tensor, normals: Tensor, image_size: tuple[int, int], *, backend: str = "auto",
                   perspective: bool = False) -> Tensor:
    """Unit normals (B, H, W, 3) of the visible surface, 0 in the background.

    `normals` is (B, V, 3) or (V, 3), in the frame that the map shall have: `camera.light_frame(vertex_normals(...))` gives
    x right, y up, z toward the viewer. They are made unit again after the interpolation. Differentiable.
    """
    check_shape("normals", normals, ("...", None, 3))
    image = render_attributes(projected, faces, normals, image_size, backend=backend, perspective=perspective).image
    return unit(image)


def normals_to_rgb(normals: Tensor) -> Tensor:
    """Normals (..., 3) to colours in [0, 1]: (n + 1) / 2, and black where the normal is zero (background)."""
    visible = (normals != 0).any(-1, keepdim=True)
    return torch.where(visible, (normals + 1) / 2, torch.zeros_like(normals))


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., 3) divided by their length; zero stays zero, with finite gradients."""
    return torch.nn.functional.normalize(vectors, dim=-1)
