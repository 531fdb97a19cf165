"""What is known about a drawn head: its landmarks, which of them the camera sees, and its maps."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from facerecon.checks import check_choice
from facerecon.export.images import normals_to_rgb
from facerecon.fitting.visibility import landmark_visibilities
from facerecon.gmda import MAP_SIZE
from facerecon.morphable.model import MorphableModel
from facerecon.morphable.parameters import FaceParameters
from facerecon.synthesis.sample import DEPTH_RANGE, LANDMARKS, MAPS, SyntheticFace
from facerecon.views import PhotoView

# `landmark_visibilities` falls from 1 to 0 where the surface turns away; half of it is the silhouette.
SEEN = 0.5


def label_face(model: MorphableModel, parameters: FaceParameters, image: np.ndarray, *, name: str, subject: str | None,
               maps: Collection[str] = (), quality: int = 95, vertices: torch.Tensor | None = None) -> SyntheticFace:
    """A picture with everything that follows from the parameters it was drawn with.

    Args:
        model: whose parameters they are.
        parameters: pose in px of the picture.
        image: (S, S, 3) uint8.
        maps: of `MAPS`, drawn from the mesh alone.
        vertices: (V, 3) mm where they are known already.
    """
    with torch.no_grad():
        if vertices is None:
            vertices = model.vertices(parameters.identity, parameters.expression)
        known: dict[str, np.ndarray] = {}
        schemes = [name for name in LANDMARKS if name in model.embeddings]
        seen = landmark_visibilities(model, vertices, parameters.pose, schemes=schemes)
        for scheme, count in LANDMARKS.items():
            points, visible = np.full((count, 2), np.nan, np.float32), np.zeros(count, bool)
            if scheme in seen:
                placed = model.landmarks(scheme, parameters.identity, parameters.expression)
                points, visible = parameters.pose.project(placed)[:, :2].numpy(), seen[scheme] >= SEEN
            known |= {f"points{count}": points, f"visible{count}": visible}
        drawn = draw_maps(model, vertices, parameters, len(image), maps)
    return SyntheticFace(name=name, subject=subject, image=image, parameters=parameters, maps=drawn, quality=quality, **known)


def draw_maps(model: MorphableModel, vertices: torch.Tensor, parameters: FaceParameters, size: int,
              maps: Collection[str]) -> dict[str, np.ndarray]:
    """The maps of `SyntheticFace` from a mesh (V, 3) in a picture of `size` px."""
    for name in maps:
        check_choice("maps", name, MAPS)
    pose, drawn = parameters.pose, {}

    def view(side: int) -> PhotoView:
        placed = pose.scaled_image(side / size)
        return PhotoView(model, vertices, model.albedo_mean, parameters.illumination, placed, (side, side))

    if "pncc" in maps:
        drawn["pncc"] = np.rint(np.clip(view(MAP_SIZE).pncc(), 0, 1) * 255).astype(np.uint8)
    if "depth" in maps or "normals" in maps:
        large = view(size)
        if "depth" in maps:
            drawn["depth"] = encode_depth(large.depth() / float(pose.scale), large.covered)
        if "normals" in maps:
            drawn["normals"] = normals_to_rgb(large.normals(), large.covered)
    return {name: drawn[name] for name in maps}


def encode_depth(depth_mm: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Depth (H, W) mm as uint16 over `DEPTH_RANGE`; `DEPTH_RANGE.decode` gives it back, NaN where nothing is covered."""
    place = (np.clip(depth_mm, DEPTH_RANGE.near, DEPTH_RANGE.far) - DEPTH_RANGE.near) / (DEPTH_RANGE.far - DEPTH_RANGE.near)
    return np.where(covered, 1 + np.rint(65534 * place), 0).astype(np.uint16)
