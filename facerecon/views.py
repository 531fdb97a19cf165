"""Pictures of a reconstruction: maps at photo resolution, and views of the mesh from any side."""

from __future__ import annotations

import numpy as np
import torch

from facerecon.checks import check_choice
from facerecon.errors import ArgumentError
from facerecon.geometry import ScaledOrthographicPose, vertex_normals
from facerecon.geometry.rotations import euler_deg_to_matrix_aflw
from facerecon.morphable import MorphableModel
from facerecon.render.compose import antialias
from facerecon.render.fragments import Fragments
from facerecon.render.harmonics import shade
from facerecon.render.interpolation import interpolate
from facerecon.render.rasterizer import rasterize
from facerecon.render.textured import sample_texture

MAPS = ("overlay", "depth", "normals", "pncc", "albedo")


class PhotoView:
    """The fitted mesh as the photo sees it, drawn once and read as several maps.

    Only the window of the photo that the mesh may cover is drawn and kept: photos have many megapixels, faces seldom.

    Args:
        model: the face model.
        vertices: (V, 3) float32, model space.
        albedo: (V, 3) float32.
        light: (9, 3) float32.
        pose: its projection into the photo.
        image_size: (H, W) of the photo.
    """

    def __init__(self, model: MorphableModel, vertices: torch.Tensor, albedo: torch.Tensor, light: torch.Tensor,
                 pose: ScaledOrthographicPose, image_size: tuple[int, int]) -> None:
        self._model, self._image_size = model, image_size
        with torch.no_grad():
            projected = pose.project(vertices)
            low, high = (_whole(points[:2]) for points in (projected.amin(0).floor(), projected.amax(0).ceil() + 1))
            # At least one pixel, also for a mesh outside the photo.
            x0, y0 = np.clip(low, 0, (image_size[1] - 1, image_size[0] - 1))
            x1, y1 = np.clip(high, (x0 + 1, y0 + 1), image_size[::-1])
            self._window = np.s_[y0:y1, x0:x1]
            shifted = projected - torch.tensor([float(x0), float(y0), 0.0])
            self._fragments = rasterize(shifted, model.faces, (int(y1 - y0), int(x1 - x0)))
            self._normals = pose.light_frame(vertex_normals(vertices, model.faces))
        self._albedo, self._light = albedo, light

    @property
    def covered(self) -> np.ndarray:
        """(H, W) bool: where the mesh is seen."""
        return self._whole_photo(self._fragments.mask[0])

    def depth(self) -> np.ndarray:
        """(H, W) float32 px, growing away from the camera; meaningful where covered."""
        return self._whole_photo(self._fragments.depth[0])

    def normals(self) -> np.ndarray:
        """(H, W, 3) unit normals in the frame x right, y up, z toward the viewer; 0 where nothing is covered."""
        return self._whole_photo(torch.nn.functional.normalize(self._draw(self._normals), dim=-1))

    def pncc(self) -> np.ndarray:
        """(H, W, 3) in [0, 1]: the projected normalised coordinate code of the model's PNCC region, background 0."""
        return self._whole_photo(self._draw(self._model.ncc.clamp(0, 1)) * self._within("pncc")[..., None])

    def albedo(self) -> np.ndarray:
        """(H, W, 3) in [0, 1]: the fitted albedo."""
        return self._whole_photo(self._draw(self._albedo).clamp(0, 1))

    def overlay(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3): the face under the fitted light, laid over the photo; the edge of the region is faded."""
        import cv2

        region = self._within("pncc").numpy().astype(np.float32)
        rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
        result = pixels.copy()
        if not len(rows):
            return result
        colour = shade(self._draw(self._albedo), torch.nn.functional.normalize(self._draw(self._normals), dim=-1), self._light)
        fade = max(1.0, 0.012 * float(np.hypot(len(rows), len(columns))))
        mask = cv2.erode(region, np.ones((2 * int(fade) + 1,) * 2), borderValue=0)
        weight = cv2.GaussianBlur(mask, (0, 0), fade)[..., None] * region[..., None]
        mixed = weight * 255 * colour.clamp(0, 1).numpy() + (1 - weight) * pixels[self._window]
        result[self._window] = np.round(mixed).astype(np.uint8)
        return result

    def _draw(self, attributes: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return interpolate(self._fragments, attributes, self._model.faces)[0]

    def _within(self, mask: str) -> torch.Tensor:
        inside = self._model.masks[mask][self._model.faces].all(-1) if mask in self._model.masks else None
        index = self._fragments.face_index[0]
        return index >= 0 if inside is None else (index >= 0) & inside[index.clamp_min(0)]

    def _whole_photo(self, window: torch.Tensor) -> np.ndarray:
        values = window.numpy()
        photo = np.zeros((*self._image_size, *values.shape[2:]), values.dtype)
        photo[self._window] = values
        return photo


def _whole(corner: torch.Tensor) -> np.ndarray:
    # A mesh far outside the photo must not overflow the integers.
    return corner.clamp(-1e6, 1e6).numpy().astype(int)


def render_view(vertices: np.ndarray, faces: np.ndarray, *, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0,
                size: int = 512, style: str = "texture", uv: np.ndarray | None = None, uv_faces: np.ndarray | None = None,
                texture: np.ndarray | None = None, colours: np.ndarray | None = None, fill: float = 0.85) -> np.ndarray:
    """Draw a mesh from any side, under orthography.

    Args:
        vertices: (V, 3), model space.
        faces: (F, 3).
        yaw, pitch, roll: degrees, AFLW2000-3D's convention.
        size: side of the square picture, px.
        style: `texture` (needs uv, uv_faces and texture), `colours` (needs colours (V, 3) in [0, 1]) or `clay`.
        fill: share of the picture that the mesh's longest side takes.

    Returns:
        (size, size, 4) uint8 RGBA with smooth outlines; background transparent.
    """
    check_choice("style", style, ("texture", "colours", "clay"))
    points = torch.from_numpy(np.ascontiguousarray(vertices, dtype=np.float32))
    triangles = torch.from_numpy(np.ascontiguousarray(faces, dtype=np.int64))
    rotation = euler_deg_to_matrix_aflw(*(torch.tensor(float(angle)) for angle in (pitch, yaw, roll)))
    low, high = points.min(0).values, points.max(0).values
    scale = fill * size / float((high - low).max().clamp_min(1e-6))
    middle = scale * (rotation @ ((low + high) / 2))
    pose = ScaledOrthographicPose(rotation, (size - 1) / 2 - middle[:2], torch.tensor(scale)).scaled_image(2)
    with torch.no_grad():
        fragments = rasterize(pose.project(points), triangles, (2 * size, 2 * size))
        image = _surface(fragments, points, triangles, pose, style, uv, uv_faces, texture, colours)
        colour, alpha = antialias(image, fragments.mask, 2)
    picture = torch.cat([colour.clamp(0, 1), alpha[..., None]], -1)[0]
    return (picture.numpy() * 255 + 0.5).astype(np.uint8)


def _surface(fragments: Fragments, points: torch.Tensor, triangles: torch.Tensor, pose: ScaledOrthographicPose, style: str,
             uv: np.ndarray | None, uv_faces: np.ndarray | None, texture: np.ndarray | None,
             colours: np.ndarray | None) -> torch.Tensor:
    if style == "texture":
        if uv is None or uv_faces is None or texture is None:
            raise ArgumentError("style 'texture': wanted uv, uv_faces and texture, got None; use style='clay'")
        return sample_texture(fragments, torch.as_tensor(uv), torch.as_tensor(uv_faces),
                              torch.from_numpy(texture).float() / 255)
    if style == "colours":
        if colours is None:
            raise ArgumentError("style 'colours': wanted colours (V, 3), got None")
        return interpolate(fragments, torch.as_tensor(colours, dtype=torch.float32), triangles)
    normals = interpolate(fragments, pose.light_frame(vertex_normals(points, triangles)), triangles)
    # One lamp above the left shoulder and a soft fill: enough to judge form by.
    lamp = torch.nn.functional.normalize(torch.tensor([-0.4, 0.5, 0.8]), dim=0)
    diffuse = (torch.nn.functional.normalize(normals, dim=-1) @ lamp).clamp_min(0)
    return (0.22 + 0.68 * diffuse)[..., None] * torch.tensor([1.0, 0.97, 0.93]) * fragments.mask[..., None]
