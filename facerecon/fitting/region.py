"""The part of the head that the photometric stage draws, and the photo cropped to it."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import torch

from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.morphable.model import MorphableModel


@dataclasses.dataclass(frozen=True)
class FaceRegion:
    """A model restricted to the frontal face, float32.

    Attributes:
        vertex_index: (n,) int64, rows of the whole model.
        faces: (f, 3) int64 into the region's vertices.
        skin_faces: (f,) bool, triangles whose corners are all skin.
        mean: (n, 3) mm.
        shape_basis: (K + E, n * 3), identity above expression.
        albedo_mean: (n, 3).
        albedo_basis: (A, n, 3).
    """

    vertex_index: torch.Tensor
    faces: torch.Tensor
    skin_faces: torch.Tensor
    mean: torch.Tensor
    shape_basis: torch.Tensor
    albedo_mean: torch.Tensor
    albedo_basis: torch.Tensor
    _sampled: dict[int, torch.Tensor] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def vertices(self, coefficients: torch.Tensor) -> torch.Tensor:
        """(K + E,) -> (n, 3) mm; differentiable."""
        return self.mean + (coefficients @ self.shape_basis).reshape(-1, 3)

    def skin_sample(self, count: int) -> torch.Tensor:
        """About `count` skin vertices (m,), evenly taken from the list of all."""
        skin = torch.unique(self.faces[self.skin_faces])
        return skin[::max(len(skin) // count, 1)]

    def sample_basis(self, count: int) -> torch.Tensor:
        """(m, 3, K + E): the shape basis at `skin_sample(count)`; computed once."""
        if count not in self._sampled:
            index = self.skin_sample(count)
            basis = self.shape_basis.reshape(len(self.shape_basis), -1, 3)[:, index]
            self._sampled[count] = basis.permute(1, 2, 0).contiguous()
        return self._sampled[count]

    def albedo(self, coefficients: torch.Tensor) -> torch.Tensor:
        """(A,) -> (n, 3)."""
        return self.albedo_mean + torch.einsum("a,anc->nc", coefficients, self.albedo_basis)


# A pure cache of what depends on the model alone.
_CACHE: weakref.WeakKeyDictionary[MorphableModel, FaceRegion] = weakref.WeakKeyDictionary()


def face_region(model: MorphableModel) -> FaceRegion:
    """The model's mask `face` (or, without one, `skin`, or the whole mesh), on the CPU; cached."""
    if model not in _CACHE:
        masks = model.masks
        everything = torch.ones(len(model.mean), dtype=torch.bool)
        inside = masks.get("face", masks.get("skin", everything)).cpu()
        skin = masks.get("skin", inside).cpu()
        all_faces = model.faces.cpu()
        faces = all_faces[inside[all_faces].all(dim=1)]
        vertex_index = torch.unique(faces)
        place = torch.full((len(inside),), -1, dtype=torch.int64)
        place[vertex_index] = torch.arange(len(vertex_index))
        basis = torch.cat([model.identity_basis, model.expression_basis]).detach().cpu()[:, vertex_index]
        _CACHE[model] = FaceRegion(
            vertex_index=vertex_index, faces=place[faces].contiguous(), skin_faces=skin[faces].all(dim=1),
            mean=model.mean.detach().cpu()[vertex_index], shape_basis=basis.reshape(len(basis), -1).contiguous(),
            albedo_mean=model.albedo_mean.detach().cpu()[vertex_index],
            albedo_basis=model.albedo_basis.detach().cpu()[:, vertex_index].contiguous())
    return _CACHE[model]


@dataclasses.dataclass(frozen=True)
class PhotoCrop:
    """A resized crop of a photo.

    Attributes:
        image: (h, w, 3) float32 RGB in [0, 1]; 0 outside the photo.
        inside: (h, w) bool, True where the photo covers the pixel.
        corner: (x0, y0) whole px of the crop in the photo.
        factor: crop px per photo px.
    """

    image: torch.Tensor
    inside: torch.Tensor
    corner: tuple[int, int]
    factor: float

    def to_crop(self, pose: ScaledOrthographicPose) -> ScaledOrthographicPose:
        """The pose in crop pixels."""
        return pose.shifted(-self.corner[0], -self.corner[1]).scaled_image(self.factor)

    def to_photo(self, pose: ScaledOrthographicPose) -> ScaledOrthographicPose:
        """The inverse of `to_crop`."""
        return pose.scaled_image(1.0 / self.factor).shifted(*self.corner)

    def points(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) photo px -> crop px."""
        return (points - np.array(self.corner) + 0.5) * self.factor - 0.5


def crop_photo(pixels: np.ndarray, box: np.ndarray, *, size: int) -> PhotoCrop:
    """Cut `box` (x0, y0, x1, y1 px) out of (H, W, 3) uint8 and shrink it by area averaging until its longer side is `size`.

    The box may reach outside the photo. Small boxes are not enlarged beyond twice their size.
    """
    import cv2

    height, width = pixels.shape[:2]
    x0, y0 = (int(np.floor(value)) for value in box[:2])
    x1, y1 = (max(int(np.ceil(value)) + 1, low + 8) for value, low in zip(box[2:], (x0, y0)))
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    patch = np.zeros((y1 - y0, x1 - x0, 3), dtype=np.uint8)
    inside = np.zeros(patch.shape[:2], dtype=np.uint8)
    if right > left and bottom > top:
        patch[top - y0:bottom - y0, left - x0:right - x0] = pixels[top:bottom, left:right]
        inside[top - y0:bottom - y0, left - x0:right - x0] = 255
    factor = min(size / max(patch.shape[:2]), 2.0)
    target = tuple(max(int(np.ceil(side * factor)), 1) for side in patch.shape[:2])
    # A warp with the exact factor: resizing to whole pixels would stretch the crop by up to a pixel.
    matrix = np.array([[factor, 0.0, 0.5 * factor - 0.5], [0.0, factor, 0.5 * factor - 0.5]])
    if factor < 1.0:
        # Averaging over the footprint first, or the warp would alias.
        sigma = 0.5 * np.sqrt(max(1.0 / factor**2 - 1.0, 0.0))
        patch = cv2.GaussianBlur(patch, (0, 0), sigma) if sigma > 0.2 else patch
    image = cv2.warpAffine(patch, matrix, target[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpAffine(inside, matrix, target[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) > 254
    return PhotoCrop(torch.from_numpy(image.astype(np.float32) / 255.0), torch.from_numpy(covered), (x0, y0), factor)
