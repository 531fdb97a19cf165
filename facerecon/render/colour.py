"""The whole picture: project -> rasterise -> interpolate -> shade."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from facerecon.checks import check_choice, check_shape
from facerecon.geometry.normals import vertex_normals
from facerecon.render.fragments import Fragments
from facerecon.render.harmonics import shade
from facerecon.render.interpolation import interpolate
from facerecon.render.maps import unit
from facerecon.render.rasterizer import rasterize


class Camera(Protocol):
    """What rendering needs of a camera; `geometry.cameras` has two."""

    perspective: bool

    def project(self, vertices: Tensor) -> Tensor: ...

    def light_frame(self, normals: Tensor) -> Tensor: ...


class ColourRender(NamedTuple):
    """A shaded picture.

    Attributes:
        image: (B, H, W, 3), RGB, not clamped; 0 in the background.
        mask: (B, H, W) bool, True where the mesh is visible.
        fragments: what the rasteriser found, for further maps of the same view.
        projected: (B, V, 3), the vertices on the screen.
    """

    image: Tensor
    mask: Tensor
    fragments: Fragments
    projected: Tensor


def render_colour(vertices: Tensor, faces: Tensor, albedo: Tensor, light: Tensor, camera: Camera,
                  image_size: tuple[int, int], *, shading: str = "vertex", backend: str = "auto",
                  fragments: Fragments | None = None) -> ColourRender:
    """Draw a mesh under spherical harmonics light.

    Args:
        vertices: (B, V, 3) or (V, 3), model space.
        faces: (F, 3), counter-clockwise seen from outside.
        albedo: (B, V, 3) or (V, 3), RGB in [0, 1].
        light: (9, 3) or (B, 9, 3), see `shade`; in the frame x right, y up, z toward the viewer.
        camera: a `ScaledOrthographicPose` or `PerspectiveCamera`, batched like the vertices or not.
        image_size: (H, W).
        shading: `vertex` shades the vertices and interpolates colours, as MoFA does (fast); `pixel` interpolates albedo and
            normals and shades each pixel (smoother on coarse meshes).
        backend: of `rasterize`.
        fragments: of an earlier call with nearly the same vertices, to reuse its visibility without drawing again. The
            barycentrics are then constants: gradients reach albedo, light and normals, not the projection.

    Returns:
        A `ColourRender`, differentiable in vertices, albedo, light and camera, with visibility held fixed.
    """
    check_choice("shading", shading, ("vertex", "pixel"))
    check_shape("vertices", vertices, ("...", None, 3))
    projected = camera.project(vertices)
    if projected.ndim == 2:
        projected = projected[None]
    batch = len(projected)
    normals = camera.light_frame(vertex_normals(vertices, faces))
    normals = (normals if normals.ndim == 3 else normals[None]).expand(batch, -1, -1)
    if fragments is None:
        fragments = rasterize(projected, faces, image_size, backend=backend, perspective=camera.perspective)
    if shading == "vertex":
        image = interpolate(fragments, shade(albedo, normals, light), faces)
    else:
        both = torch.cat([albedo.expand(batch, -1, -1), normals], -1)
        reflectance, facing = interpolate(fragments, both, faces).split(3, -1)
        image = shade(reflectance, unit(facing), light)
    return ColourRender(image, fragments.mask, fragments, projected)
