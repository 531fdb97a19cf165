"""The mean albedo as an atlas picture: the vertex albedo, with pores and hairs from the sharpest pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from facerecon.render import rasterize
from open_model import brows, eyes
from open_model.albedo import BROW_COLOUR, BROW_OPACITY, BROW_THICKNESS, Albedo
from open_model.topology import Topology
from open_model.uvmaps import read_skins, sample

# Pores come from two evenly lit young skins; their shades below this many texels (about the vertices' distance) are detail.
DETAIL_SKINS = ("young_lightskinned_male_diffuse", "young_lightskinned_female_diffuse2")
DETAIL_SIGMA = 7.0
HAIR_STYLES = ("002", "008")


def atlas_fragments(uv: np.ndarray, uv_faces: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangle (size, size), -1 outside, and barycentrics (size, size, 3) of each texel centre of the atlas."""
    place = np.stack([uv[:, 0] * size - 0.5, (1 - uv[:, 1]) * size - 0.5, np.zeros(len(uv))], axis=1)
    fragments = rasterize(torch.from_numpy(place), torch.from_numpy(uv_faces.astype(np.int64)), (size, size))
    return fragments.face_index[0].numpy(), fragments.barycentric[0].numpy()


def gather(values: np.ndarray, faces: np.ndarray, fragments: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Interpolate vertex values (V, C) at the texels: (size, size, C), 0 outside the charts."""
    index, weights = fragments
    return np.einsum("hwk,hwkc->hwc", weights, values[faces[np.maximum(index, 0)]]) * (index >= 0)[..., None]


def mean_texture(topology: Topology, atlas_uv: np.ndarray, mean: np.ndarray, albedo: Albedo, masks: dict[str, np.ndarray],
                 landmarks: dict[str, np.ndarray], textures: Path, *, size: int) -> np.ndarray:
    """(size, size, 3) uint8: row 0 is v = 1. Outside the charts the nearest colours go on, so that filters and mipmaps never
    meet an edge."""
    fragments = atlas_fragments(atlas_uv, topology.uv_faces, size)
    inside = fragments[0] >= 0
    position = gather(mean, topology.faces, fragments)
    colour = gather(_without_brows(albedo), topology.faces, fragments)
    skin = gather((~(masks["eyes"] | masks["mouth"])).astype(float)[:, None], topology.faces, fragments)[..., 0]

    source_uv = topology.uv_matrix @ topology.coarse_uv
    place = gather(source_uv, topology.uv_faces, fragments)
    detail = _detail(read_skins(textures), place)
    colour = np.where((skin > 0.99)[..., None], colour * detail, colour)

    dense = landmarks["mediapipe478"]
    middle, distance = (dense[468] + dense[473]) / 2 * [0, 1, 1], abs(dense[473, 0] - dense[468, 0])
    styles = brows.read_brows(textures)
    hair = np.clip(1.25 * np.mean([styles[name] for name in HAIR_STYLES], axis=0), 0, 1)
    cover = brows.brow_opacity(hair, position, middle, distance, thickness=BROW_THICKNESS)
    cover = (cover * BROW_OPACITY * 1.1 * (skin > 0.99) * inside)[..., None]
    colour = colour * (1 - cover) + BROW_COLOUR * cover

    irises = eyes.read_irises(textures)
    iris = sum(eyes.IRIS_WEIGHTS[name] * picture for name, picture in irises.items())
    ball = gather(masks["eyes"].astype(float)[:, None], topology.faces, fragments)[..., 0] > 0.99
    gaze = gather(topology.gaze_directions(), topology.faces, fragments)[ball]
    colour[ball] = eyes.paint_eye(iris, gaze / np.linalg.norm(gaze, axis=1, keepdims=True))
    return (np.clip(fill_outside(colour, inside), 0, 1) * 255 + 0.5).astype(np.uint8)


def fill_outside(colour: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Give texels outside the charts the colour of the nearest texel inside."""
    _, label = cv2.distanceTransformWithLabels((~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(inside)
    place = np.zeros((label.max() + 1, 2), dtype=np.int64)
    place[label[rows, columns]] = np.stack([rows, columns], axis=1)
    nearest = place[label]
    return colour[nearest[..., 0], nearest[..., 1]]


def _without_brows(albedo: Albedo) -> np.ndarray:
    cover = np.minimum(BROW_OPACITY * albedo.maps["brow"], 0.9)[:, None] * (1 - albedo.maps["lashes"][:, None])
    return (albedo.mean - cover * BROW_COLOUR) / (1 - cover)


def _detail(skins: dict[str, np.ndarray], place: np.ndarray) -> np.ndarray:
    """Fine shades (size, size, 3) around one at hm08 places (size, size, 2), from pictures of 2048 pixels."""
    total = np.zeros((*place.shape[:2], 3))
    for name in DETAIL_SKINS:
        picture = skins[name]
        known = (picture.sum(axis=2) > 0.004).astype(np.float32)
        # Normalised blur: the black outside the crop must not darken its rim.
        blurred = cv2.GaussianBlur(picture, (0, 0), DETAIL_SIGMA) / np.maximum(
            cv2.GaussianBlur(known, (0, 0), DETAIL_SIGMA), 1e-3)[..., None]
        ratio = np.where(known[..., None] > 0, np.log(np.maximum(picture, 0.02)) - np.log(np.maximum(blurred, 0.02)), 0)
        total += sample(np.clip(ratio, -0.5, 0.5).astype(np.float32), place)
    # Half of each keeps the strength of one, since their pores do not coincide.
    return np.exp(total / np.sqrt(len(DETAIL_SKINS)))
