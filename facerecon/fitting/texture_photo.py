"""The photo's part of a texture: where each texel lies in the photo, whether the camera sees it, what colour is there."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import torch

from facerecon.fitting.texture_atlas import SKIN, AtlasMaps, smoothstep
from facerecon.geometry.cameras import PerspectiveCamera, ScaledOrthographicPose
from facerecon.render.rasterizer import rasterize

# Pixels per millimetre of the depth image, whatever the size of the photo: the distances below are then in mm for all.
_DEPTH_PX_PER_MM = 3.0
_LARGEST_DEPTH_SIDE = 1024
_BEHIND_MM = 1.0
_STEP_MM, _CLIFF_MM = 2.5, 12.0


@dataclasses.dataclass(frozen=True)
class PhotoSamples:
    """Texel images of what the photo shows.

    Attributes:
        colour: (S, S, 3) float32 in [0, 1]; means nothing where `weight` is 0.
        weight: (S, S) float32 in [0, 1]: 0 where the texel is hidden, turned away, near a silhouette, or outside the photo.
        clearance: (S, S) float32, mm in the photo's plane from the head's silhouette, beyond which the background begins if
            the fit is off; 0 for hidden texels.
    """

    colour: np.ndarray
    weight: np.ndarray
    clearance: np.ndarray


def sample_photo(maps: AtlasMaps, vertices: torch.Tensor, normals: torch.Tensor, camera: ScaledOrthographicPose | PerspectiveCamera,
                 pixels: np.ndarray, *, facing_range: tuple[float, float]) -> PhotoSamples:
    """Look every texel up in the photo.

    Args:
        maps: of the atlas.
        vertices: (V, 3) mm, and normals (V, 3), unit, in the frame of the light (z toward the viewer).
        camera: of the photo.
        pixels: uint8 (H, W, 3).
        facing_range: cosines at which a texel's weight starts and is full.
    """
    projected = camera.project(vertices)
    px_per_mm = _pixels_per_mm(projected, vertices, maps)
    depth_unit = 1.0 if camera.perspective else px_per_mm
    seen = _DepthImage.of(projected, maps, px_per_mm, depth_unit)
    texels = maps.spread(torch.cat([projected, normals[:, 2:]], dim=1).numpy())
    x, y, depth, facing = (np.ascontiguousarray(texels[..., channel]) for channel in range(4))

    weight, clearance = seen.visibility(x, y, depth, skin=maps.skin)
    weight *= smoothstep(facing, *facing_range)
    border = np.minimum(np.minimum(x, pixels.shape[1] - 1 - x), np.minimum(y, pixels.shape[0] - 1 - y)) / px_per_mm
    weight *= smoothstep(border, 0.0, 4.0)
    weight[~maps.covered] = 0.0
    return PhotoSamples(_colours(pixels, x, y, maps, weight), weight, clearance)


@dataclasses.dataclass(frozen=True)
class _DepthImage:
    """The head's depth in its own crop, and each pixel's distance in mm from edges: any step, steps and cliffs of skin."""

    depth: np.ndarray
    from_any: np.ndarray
    from_step: np.ndarray
    from_cliff: np.ndarray
    origin: np.ndarray
    factor: float
    depth_unit: float

    @classmethod
    def of(cls, projected: torch.Tensor, maps: AtlasMaps, px_per_mm: float, depth_unit: float) -> _DepthImage:
        points = projected.numpy()
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        factor = min(_DEPTH_PX_PER_MM / px_per_mm, _LARGEST_DEPTH_SIDE / max(float((high - low).max()), 1e-6))
        origin = low - 4.0 / factor
        width, height = (int(length) + 9 for length in (high - low) * factor)
        placed = np.concatenate([(points[:, :2] - origin) * factor, points[:, 2:]], axis=1)
        fragments = rasterize(torch.from_numpy(placed.astype(np.float32)), maps.faces, (height, width))
        covered = fragments.mask[0].numpy()
        depth = np.where(covered, fragments.depth[0].numpy(), np.inf).astype(np.float32)
        finite = np.where(covered, depth, 1e6).astype(np.float32)
        cross = np.ones((3, 3), np.uint8)
        jump = (cv2.dilate(finite, cross) - cv2.erode(finite, cross)) / depth_unit
        per_mm = px_per_mm * factor
        # A slanted surface also climbs from pixel to pixel; what is steeper than 80 degrees counts as an edge.
        climb = 2.0 * np.sqrt(2.0) / per_mm * 5.7
        # Lips and lids are edges for the teeth and eyes behind them, but are themselves wanted up to their rims.
        inner = maps.kind[maps.faces.numpy()].max(axis=1) != SKIN
        opening = cv2.dilate((covered & inner[fragments.face_index[0].numpy()]).astype(np.uint8), cross) > 0

        def distance(edge: np.ndarray) -> np.ndarray:
            return cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3) / np.float32(per_mm)

        from_any = distance(jump >= max(_STEP_MM, climb))
        from_step = distance((jump >= max(_STEP_MM, climb)) & ~opening)
        from_cliff = distance((jump >= max(_CLIFF_MM, climb)) & ~opening | ~covered)
        return cls(depth, from_any, from_step, from_cliff, origin, factor, depth_unit)

    def visibility(self, x: np.ndarray, y: np.ndarray, depth: np.ndarray, *, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """1 for texels on the visible surface and clear of edges, 0 for hidden ones and those at an edge; and the clearance."""
        column = ((x - self.origin[0]) * self.factor).astype(np.float32)
        row = ((y - self.origin[1]) * self.factor).astype(np.float32)
        nearest = cv2.remap(self.depth, column, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=-np.inf)
        behind = (depth - nearest) / self.depth_unit
        # Eyeballs and teeth lie in narrow gaps: they keep less distance from the lids and lips than skin does from the nose.
        step, cliff, gap = (cv2.remap(image, column, row, cv2.INTER_LINEAR) for image in (self.from_step, self.from_cliff, self.from_any))
        clear = np.where(skin > 0.5, smoothstep(step, 0.8, 2.5), smoothstep(gap, 0.3, 1.0)) * smoothstep(cliff, 2.0, 6.0)
        visible = behind < _BEHIND_MM
        return clear * visible, cliff * visible


def _pixels_per_mm(projected: torch.Tensor, vertices: torch.Tensor, maps: AtlasMaps) -> float:
    """Scale of the face in the photo: the affine map that takes the face to the image, by its singular values."""
    rows = torch.from_numpy(maps.trusted > 0.0 if (maps.trusted > 0.0).any() else np.ones(len(vertices), bool))
    flat, space = projected[rows, :2], vertices[rows]
    map_, *_ = torch.linalg.lstsq((space - space.mean(0)).double(), (flat - flat.mean(0)).double())
    return float(torch.linalg.svdvals(map_).mean())


def _colours(pixels: np.ndarray, x: np.ndarray, y: np.ndarray, maps: AtlasMaps, weight: np.ndarray) -> np.ndarray:
    """The photo at (x, y). Where the photo is finer than the texels, it is reduced first, so that nothing aliases."""
    used = weight > 0
    if not used.any():
        return np.zeros((*x.shape, 3), np.float32)
    low = np.maximum(np.floor([x[used].min(), y[used].min()]).astype(int) - 8, 0)
    high = np.minimum(np.ceil([x[used].max(), y[used].max()]).astype(int) + 9, pixels.shape[1::-1])
    crop = pixels[low[1]:high[1], low[0]:high[0]]
    column, row = x - np.float32(low[0]), y - np.float32(low[1])
    ratio = _pixels_per_texel(x, y, used & maps.covered)
    if ratio > 1.3:
        size = [max(2, round(side / ratio)) for side in crop.shape[1::-1]]
        scale = [new / old for new, old in zip(size, crop.shape[1::-1])]
        crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
        column, row = ((value + np.float32(0.5)) * np.float32(s) - np.float32(0.5) for value, s in zip((column, row), scale))
    sampled = cv2.remap(crop, column, row, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return sampled.astype(np.float32) / np.float32(255.0)


def _pixels_per_texel(x: np.ndarray, y: np.ndarray, used: np.ndarray) -> float:
    """Median length in photo pixels of a step to the next texel, over the used ones."""
    pairs = used[:, 1:] & used[:, :-1]
    if not pairs.any():
        return 1.0
    across = np.hypot(np.diff(x, axis=1)[pairs], np.diff(y, axis=1)[pairs])
    pairs = used[1:] & used[:-1]
    down = np.hypot(np.diff(x, axis=0)[pairs], np.diff(y, axis=0)[pairs]) if pairs.any() else across
    return float(np.sqrt(np.median(across) * np.median(down)))

