"""What a model's albedo leaves out of a photo: occlusion of light by the head itself, and detail finer than the mesh."""

from __future__ import annotations

import numpy as np
import torch

from facerecon.morphable.model import MorphableModel
from facerecon.render.interpolation import interpolate
from facerecon.render.rasterizer import rasterize

DIRECTIONS, RASTER_PX = 48, 160
# Surface this much nearer to the light hides what is behind it.
HIDDEN_MM = 3.0


def ambient_occlusion(model: MorphableModel) -> np.ndarray:
    """(V,) in [0, 1]: the share of a sky, weighted by the cosine, that each vertex of the neutral mean head sees.

    Nostrils, the inside of the mouth and the neck below the chin are dark, a forehead is not. The head is drawn from directions
    spread over the sphere, and a vertex sees those in which nothing lies before it.
    """
    from facerecon.geometry.normals import vertex_normals

    normals = vertex_normals(model.mean, model.faces).numpy()
    seen, most = np.zeros(len(normals)), np.full(len(normals), 1e-6)
    for towards in _sphere(DIRECTIONS):
        # A frame whose third axis points from the sky to the head.
        aside = np.cross(towards, [0.3, 1.0, 0.2])
        aside /= np.linalg.norm(aside)
        frame = np.stack([aside, np.cross(towards, aside), -towards])
        placed = model.mean.numpy() @ frame.T
        low = placed[:, :2].min(axis=0)
        factor = (RASTER_PX - 3) / float((placed[:, :2].max(axis=0) - low).max())
        screen = np.column_stack([(placed[:, :2] - low) * factor + 1, placed[:, 2]]).astype(np.float32)
        fragments = rasterize(torch.from_numpy(screen), model.faces, (RASTER_PX, RASTER_PX))
        depth = torch.where(fragments.face_index[0] >= 0, fragments.depth[0], torch.inf).numpy()
        column, row = np.rint(screen[:, :2]).astype(int).T
        weight = np.clip(normals @ towards, 0, None)
        most += weight
        seen += weight * (screen[:, 2] - depth[row, column] < HIDDEN_MM)
    return _smoothed(seen / most, model.faces.numpy())


def texture_detail(model: MorphableModel) -> np.ndarray:
    """(H, W) float32: the texture's brightness over that of the mean vertex colours: pores and hairs; 1 off the skin."""
    height, width = model.albedo_texture.shape[:2]
    place = torch.stack([model.uv[:, 0] * width - 0.5, (1 - model.uv[:, 1]) * height - 0.5, torch.zeros(len(model.uv))], -1)
    fragments = rasterize(place.float(), model.uv_faces, (height, width))
    skin = (model.masks["face"] | model.masks["neck"] | model.masks["ears"]).float()[:, None]
    drawn = interpolate(fragments, torch.cat([model.albedo_mean, skin], -1), model.faces)[0].numpy()
    ratio = (model.albedo_texture.astype(np.float32).mean(-1) / 255) / np.maximum(drawn[..., :3].mean(-1), 0.02)
    return np.where(drawn[..., 3] > 0.99, np.clip(ratio, 0.6, 1.4), 1.0).astype(np.float32)


def _sphere(count: int) -> np.ndarray:
    """(count, 3) unit vectors, evenly spread along a spiral."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (1 + 5**0.5) * np.arange(count)
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], -1)


def _smoothed(values: np.ndarray, faces: np.ndarray, passes: int = 3) -> np.ndarray:
    """Means with the neighbours: the raster's pixels must not show."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    for _ in range(passes):
        total, count = values.copy(), np.ones(len(values))
        for one, other in ((0, 1), (1, 0)):
            np.add.at(total, ends[:, one], values[ends[:, other]])
            np.add.at(count, ends[:, one], 1)
        values = total / count
    return values
