"""Which landmarks the camera sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from facerecon.fitting.rows import landmark_rows
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.morphable.model import MorphableModel
from facerecon.render.rasterizer import rasterize

RASTER_PX = 160
# A landmark this far behind the surface in its pixel is hidden.
HIDDEN_MM = 6.0


def facing_weight(normals: np.ndarray, rotation: np.ndarray, *, start: float = -0.1, end: float = 0.4,
                  least: float = 0.02) -> np.ndarray:
    """Smooth weight of points by how much they face the camera.

    Args:
        normals: (N, 3) unit, model space.
        rotation: (3, 3), model to camera frame (z forward).
        start, end: cosines to the viewing direction between which the weight rises from `least` to 1.
    """
    towards = -(normals @ rotation[2])
    ramp = np.clip((towards - start) / (end - start), 0.0, 1.0)
    return least + (1.0 - least) * ramp * ramp * (3.0 - 2.0 * ramp)


def landmark_visibility(model: MorphableModel, vertices: torch.Tensor, pose: ScaledOrthographicPose, *,
                        scheme: str = "ibug68") -> np.ndarray:
    """How visible each landmark of a posed mesh is: (N,) float32 in [0, 1].

    A landmark is hidden (0) when another part of the head is more than 6 mm in front of it; else its weight falls smoothly from
    1 where the mean face around it looks at the camera to 0 where it turns away by more than 96 degrees. Not differentiable.

    Args:
        model: gives faces and embedding.
        vertices: (V, 3) mm, the fitted shape.
        pose: its pose.
    """
    return landmark_visibilities(model, vertices, pose, schemes=(scheme,))[scheme]


def landmark_visibilities(model: MorphableModel, vertices: torch.Tensor, pose: ScaledOrthographicPose, *,
                          schemes: Sequence[str]) -> dict[str, np.ndarray]:
    """`landmark_visibility` of several schemes, with the head drawn once: {scheme: (N,) float32}."""
    with torch.no_grad():
        # The test does not depend on the photo's resolution: the head is drawn at a fixed size.
        projected = ScaledOrthographicPose(pose.rotation, torch.zeros_like(pose.translation), torch.ones_like(pose.scale)
                                           ).project(vertices.detach())
        low = projected[:, :2].amin(dim=0)
        factor = (RASTER_PX - 3) / float((projected[:, :2].amax(dim=0) - low).max().clamp_min(1e-6))
        screen = torch.cat([(projected[:, :2] - low) * factor + 1.0, projected[:, 2:]], dim=1)
        fragments = rasterize(screen, model.faces, (RASTER_PX, RASTER_PX))
        depth = torch.where(fragments.face_index[0] >= 0, fragments.depth[0], torch.inf).cpu().numpy()
    rotation, placed = pose.rotation.cpu().double().numpy(), projected.cpu().double().numpy()
    corner, faces = low.cpu().double().numpy(), model.faces.cpu().numpy()
    # The farthest surface of the 3 x 3 neighbourhood, so that a silhouette pixel does not hide the point beside it.
    offsets = np.arange(-1, 2)
    weights = {}
    for scheme in schemes:
        facing = facing_weight(landmark_rows(model, scheme).normals, rotation, start=-0.1, end=0.15, least=0.0)
        points = model.embeddings[scheme].locate(placed, faces)
        place = np.rint((points[:, :2] - corner) * factor + 1.0).astype(int).clip(1, RASTER_PX - 2)
        around = depth[place[:, 1, None, None] + offsets[:, None], place[:, 0, None, None] + offsets].reshape(len(points), -1)
        surface = np.where(np.isfinite(around), around, -np.inf).max(axis=1)
        hidden = np.isfinite(surface) & (points[:, 2] - surface > HIDDEN_MM)
        weights[scheme] = np.where(hidden, 0.0, facing).astype(np.float32)
    return weights
