"""The square of a photo around one head in which the head is turned, continued beyond the photo's border."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from facerecon.detection import Crop, cut_square
from facerecon.morphable import FaceParameters, MorphableModel
from facerecon.detection import pose_to_crop

# Half the window's side, and the point of the head in its middle, which stays in place when the head turns: the axis of the
# neck, at the height of the eyes. A crop at 90 degrees reaches 200 mm from it; the rest is room for the background to give way.
REACH_MM = 250.0
PIVOT_MM = (0.0, 10.0, -55.0)
# Working pixels per mm for each px of the finished crop: a crop shows about 200 mm, and is drawn from a slightly finer photo.
DETAIL = 1.25 / 200.0
# Colours this near the photo's border, as a share of the window, may be repeated beyond it in mirror image.
MIRROR_SHARE = 0.06
# Bars beside a photo are this dark or darker, of 255, even after compression.
BLACK = 14


@dataclasses.dataclass(frozen=True, eq=False)
class ProfileWindow:
    """A head's surroundings in working pixels.

    Attributes:
        image: (N, N, 3) float32 RGB in [0, 1]; where the photo ends, its colours go on.
        inside: (N, N) bool, True where the photo is.
        parameters: of the head, pose in px of `image`.
        pivot: (3,) float64, where the point that stays in place lies: x, y and depth, px.
    """

    image: np.ndarray
    inside: np.ndarray
    parameters: FaceParameters
    pivot: np.ndarray

    @property
    def size(self) -> int:
        """N, px."""
        return len(self.image)

    @property
    def px_per_mm(self) -> float:
        """Working px per mm of the model."""
        return float(self.parameters.pose.scale)


def cut_window(model: MorphableModel, pixels: np.ndarray, parameters: FaceParameters, *, size: int) -> ProfileWindow:
    """Cut the window of one fitted head out of its photo.

    Args:
        model: of the fit.
        pixels: (H, W, 3) uint8 RGB, the upright photo; the head may reach outside.
        parameters: of the head, pose in px of the photo.
        size: side of the crops that will be made of it, px; it decides the window's resolution.
    """
    pose = parameters.pose
    pivot = torch.tensor([PIVOT_MM], dtype=pose.rotation.dtype)
    middle = pose.project(pivot)[0, :2].double().numpy()
    # The mean head has 1 unit = 1 mm; a model with other units would only be drawn at another resolution.
    extent = int(np.ceil(2 * REACH_MM * size * DETAIL / 2)) * 2
    crop = Crop((float(middle[0]), float(middle[1])), 2 * REACH_MM * float(pose.scale), extent)
    inside = cut_square(photo_area(pixels), crop).reshape(extent, extent) >= 254
    # Beyond the border the warp gives black; a border of repeated pixels keeps it out of the last row.
    image = cut_square(_bordered(pixels, 2), _moved(crop, 2)).astype(np.float32) / 255
    placed = pose_to_crop(pose, crop)
    return ProfileWindow(continued(image, inside), inside, parameters.replace(pose=placed),
                         placed.project(pivot)[0].double().numpy())


def photo_area(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1) uint8: 255 where the photo is, 0 in the black bars that crops have where they reached beyond their photo."""
    bright = np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2]) > BLACK
    area = np.zeros((*pixels.shape[:2], 1), np.uint8)
    # A bar is a border of rows or columns that are black all along; a few bright pixels are the noise of compression.
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > 0.02) for axis in (1, 0))
    if len(rows) and len(columns):
        limits = [(line[0], line[-1] + 1, length) for line, length in zip((rows, columns), bright.shape)]
        # The last pixels before a bar are mixed with it.
        (top, bottom), (left, right) = ((first + 2 * (first > 0), end - 2 * (end < length)) for first, end, length in limits)
        area[top:bottom, left:right] = 255
    return area


def fill_in(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Colours where they are not known, spread from those around them, smoother the farther they are (pull and push).

    Args:
        image: (H, W, 3) float32.
        known: (H, W) in [0, 1], how much each pixel's colour counts; fractions blend.

    Returns:
        (H, W, 3) float32, `image` where known is 1; grey where nothing is known at all.
    """
    import cv2

    known = np.asarray(known, np.float32)
    if min(known.shape) <= 2:
        total = float(known.sum())
        mean = (image * known[..., None]).sum(axis=(0, 1)) / total if total > 0 else np.full(3, 0.5, np.float32)
        return known[..., None] * image + (1 - known[..., None]) * mean.astype(np.float32)
    # Weighted means over smaller pictures; their weights saturate, so that what is known there needs no help from below.
    half = ((known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2)
    weight = cv2.resize(cv2.GaussianBlur(known, (5, 5), 1.2), half, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(cv2.GaussianBlur(image * known[..., None], (5, 5), 1.2), half, interpolation=cv2.INTER_AREA)
    colour = colour / np.maximum(weight, 1e-6)[..., None]
    below = fill_in(colour, np.clip(8 * weight, 0, 1))
    wide = cv2.GaussianBlur(cv2.resize(below, known.shape[::-1], interpolation=cv2.INTER_LINEAR), (3, 3), 0.8)
    return known[..., None] * image + (1 - known[..., None]) * wide


def continued(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The picture with what lies outside the photo made up: a narrow mirror image of its border, then ever smoother colours."""
    import cv2

    if inside.all() or not inside.any():
        return image
    distance, labels = cv2.distanceTransformWithLabels((~inside).astype(np.uint8), cv2.DIST_L2, 5,
                                                       labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(inside)
    place = np.zeros((labels.max() + 1, 2), np.int32)
    place[labels[rows, columns]] = np.stack([rows, columns], axis=1)
    row, column = np.moveaxis(place[labels], -1, 0)
    here = np.indices(inside.shape, dtype=np.int32)
    mirrored = image[np.clip(2 * row - here[0], 0, len(image) - 1), np.clip(2 * column - here[1], 0, len(image) - 1)]
    near = np.clip(1.0 - distance / (MIRROR_SHARE * len(image)), 0, 1).astype(np.float32)
    smooth = fill_in(image, inside)
    weight = np.where(inside, 1.0, near)[..., None].astype(np.float32)
    return weight * np.where(inside[..., None], image, mirrored) + (1 - weight) * smooth


def _bordered(pixels: np.ndarray, width: int) -> np.ndarray:
    import cv2

    return cv2.copyMakeBorder(pixels, width, width, width, width, cv2.BORDER_REPLICATE)


def _moved(crop: Crop, offset: float) -> Crop:
    return dataclasses.replace(crop, centre=(crop.centre[0] + offset, crop.centre[1] + offset))
