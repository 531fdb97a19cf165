"""Texture coordinates and the mean albedo's texture for models that bring none."""

from __future__ import annotations

import numpy as np

from facerecon.morphable.basel.patches import patch_plane

TEXTURE_SIZE = 1024
_MARGIN = 0.01


def patch_uv(trimmed: np.ndarray) -> np.ndarray:
    """(V, 2) from the plane of the Basel grids, in which no two surfaces overlap; the face is in the middle."""
    return _into_square(patch_plane(53215)[trimmed])


def full_patch_uv() -> np.ndarray:
    """The same for the 53,490 vertices."""
    return _into_square(patch_plane(53490))


def cylinder_uv(vertices: np.ndarray) -> np.ndarray:
    """(V, 2) by unrolling a cylinder around the head's axis (through the middle of its depth): u from the angle, v from the
    height. Ears and nostrils overlap what lies behind them."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centre = (low + high) / 2
    radius = float(np.median(np.hypot(vertices[:, 0] - centre[0], vertices[:, 2] - low[2])))
    angle = np.arctan2(vertices[:, 0] - centre[0], vertices[:, 2] - low[2])
    return _into_square(np.stack([angle * radius, vertices[:, 1]], axis=1))


def paint_albedo(albedo: np.ndarray, uv: np.ndarray, *, size: int = TEXTURE_SIZE) -> np.ndarray:
    """Vertex albedo (V, 3) in [0, 1] as a texture (size, size, 3) uint8; texels outside the atlas take the nearest colour."""
    import scipy.ndimage
    import scipy.spatial

    # Vertices are about three texels apart, so half the resolution loses nothing.
    coarse = size // 2
    centre = (np.arange(coarse) + 0.5) / coarse
    u, v = np.meshgrid(centre, 1 - centre)
    distance, nearest = scipy.spatial.cKDTree(uv).query(np.stack([u, v], axis=-1), k=4)
    weights = 1 / (distance + 1e-6) ** 2
    blend = np.einsum("hwk,hwkc->hwc", weights / weights.sum(axis=-1, keepdims=True), albedo[nearest])
    texture = scipy.ndimage.zoom(blend, (size / coarse, size / coarse, 1), order=1, grid_mode=True, mode="nearest")
    return np.round(np.clip(texture, 0, 1) * 255).astype(np.uint8)


def _into_square(plane: np.ndarray) -> np.ndarray:
    low, high = plane.min(axis=0), plane.max(axis=0)
    extent = (high - low).max()
    return 0.5 + (plane - (low + high) / 2) / extent * (1 - 2 * _MARGIN)
