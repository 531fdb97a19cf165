"""Random views of face crops: one affine warp per image, then light, blur and occluders. Whole batches at once, in torch.

The ranges are those of the seeds' training sections (3FabRec 4.2.1 and 4.2.2; Dornier's thesis 3.3.2, whose "vertical flip" is
a horizontal one: faces are not trained upside down). Strengths that the seeds leave open are this project's.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from facerecon.checks import check_range, check_shape


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; every default is "no change".

    Attributes:
        flip: probability of a horizontal mirror.
        translate: largest shift, as a share of the side, along each axis.
        scale: smallest and largest zoom.
        rotate_deg: largest rotation either way.
        occlude: probability of one random rectangle of noise over the face.
        occlude_size: smallest and largest side of it, as shares of the image's side.
        blur: probability of a Gaussian blur; blur_sigma: its largest sigma in px.
        brightness: largest additive change; contrast: largest relative change about the mean.
    """

    flip: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    rotate_deg: float = 0.0
    occlude: float = 0.0
    occlude_size: tuple[float, float] = (0.15, 0.4)
    blur: float = 0.0
    blur_sigma: float = 1.5
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "occlude", "blur"):
            check_range(name, float(getattr(self, name)), 0.0, 1.0)
        for name in ("translate", "rotate_deg", "brightness", "contrast"):
            check_range(name, float(getattr(self, name)), 0.0)
        check_range("scale", float(self.scale[0]), 1e-3, float(self.scale[1]))


class Warped(NamedTuple):
    """Augmented images (B, 3, S, S) in [0, 1]; the affine maps (B, 2, 3) from crop px to their px, mirror included; which are
    mirrored (B,)."""

    images: Tensor
    matrices: Tensor
    flipped: Tensor


def augment(images: Tensor, settings: Augmentation, generator: torch.Generator, *, size: int | None = None) -> Warped:
    """Random views of a batch of crops.

    Args:
        images: (B, W, W, 3) uint8, as `Crops.images` holds them.
        settings: ranges.
        generator: every draw comes from it, so one seed gives one sequence of batches.
        size: side of the result in px, W by default. What a view shows beyond the crop is black.
    """
    check_shape("images", images, ("batch", None, None, 3))
    width = images.shape[1]
    size = width if size is None else size
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    flipped = torch.rand(count, generator=generator) < settings.flip
    angle = uniform(-1, 1) * math.radians(settings.rotate_deg)
    zoom = uniform(*settings.scale) * (size / width)
    shift = torch.stack((uniform(-1, 1), uniform(-1, 1)), 1) * settings.translate * size
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    rotation = torch.stack((torch.stack((cosine, -sine), 1), torch.stack((sine, cosine), 1)), 1)
    rotation = rotation * torch.where(flipped, -1.0, 1.0)[:, None, None] ** torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # About the crop's centre (W - 1) / 2, which goes to the view's centre plus the shift.
    offset = (size - 1) / 2 + shift - rotation.sum(2) * (width - 1) / 2
    matrices = torch.cat((rotation, offset[:, :, None]), 2)
    pixels = images.permute(0, 3, 1, 2).float() / 255
    views = sample_affine(pixels, matrices, size)
    return Warped(corrupt(views, settings, generator), matrices, flipped)


def sample_affine(maps: Tensor, matrices: Tensor, size: int) -> Tensor:
    """Draw maps (B, C, W, W) as seen through affine maps (B, 2, 3) from their px to those of the result (B, C, size, size).

    Bilinear; 0 beyond the borders. Differentiable in `maps`.
    """
    width = maps.shape[-1]
    inverse = torch.linalg.inv(matrices[:, :, :2])
    # grid_sample without align_corners counts from -1 to 1 between the outer edges of the border pixels.
    linear = inverse * (size / width)
    centre = (inverse @ ((size - 1) / 2 - matrices[:, :, 2:]))[:, :, 0]
    theta = torch.cat((linear, ((2 * centre + 1) / width - 1)[:, :, None]), 2)
    grid = functional.affine_grid(theta, (len(maps), 1, size, size), align_corners=False)
    return functional.grid_sample(maps, grid.to(maps.dtype), align_corners=False)


def warp_points(points: Tensor, warped: Warped, flip_order: Tensor) -> Tensor:
    """Landmarks (B, L, 2) in crop px -> px of the views; mirrored faces get their points' names exchanged by `flip_order` (L,)."""
    moved = torch.einsum("bij,blj->bli", warped.matrices[:, :, :2], points) + warped.matrices[:, None, :, 2]
    return torch.where(warped.flipped[:, None, None], moved[:, flip_order], moved)


def warp_maps(maps: Tensor, warped: Warped, *, crop_size: int) -> Tensor:
    """Target maps (B, C, h, h) that cover the whole crop, seen as the views are; the same resolution, 0 beyond the borders.

    Maps of h px a side over a crop of `crop_size` px and views of S px follow the pixel-centre rule: map px = (x + 0.5) h / S - 0.5.
    """
    side, size = maps.shape[-1], warped.images.shape[-1]
    into, out_of = side / crop_size, side / size
    # Crop px from map px, then the view's map px from view px.
    linear = warped.matrices[:, :, :2] * (out_of / into)
    corner = torch.full((2,), 0.5 / into - 0.5, dtype=maps.dtype)
    offset = (warped.matrices[:, :, :2] @ corner + warped.matrices[:, :, 2] + 0.5) * out_of - 0.5
    return sample_affine(maps, torch.cat((linear, offset[:, :, None]), 2).to(maps.dtype), side)


def corrupt(views: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] after random blur, contrast, brightness and occluders; the geometric settings are not read.

    May change `views`.
    """
    count, _, size, _ = views.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    if settings.blur:
        chosen = draw(count) < settings.blur
        sigma = 0.3 + (settings.blur_sigma - 0.3) * draw(1).item()
        if chosen.any():
            views[chosen] = _blur(views[chosen], sigma)
    if settings.contrast:
        change = 1 + settings.contrast * (2 * draw(count, 1, 1, 1) - 1)
        mean = views.mean((1, 2, 3), keepdim=True)
        views = (views - mean) * change + mean
    if settings.brightness:
        views = views + settings.brightness * (2 * draw(count, 1, 1, 1) - 1)
    if settings.occlude:
        low, high = settings.occlude_size
        for index in torch.nonzero(draw(count) < settings.occlude).flatten().tolist():
            height, width = ((low + (high - low) * draw(2)) * size).long().clamp_min(1).tolist()
            top, left = (draw(2) * torch.tensor([size - height + 1, size - width + 1])).long().tolist()
            colour, grain = draw(3, 1, 1), draw(3, height, width)
            views[index, :, top:top + height, left:left + width] = 0.8 * colour + 0.2 * grain
    return views.clamp_(0, 1)


def _blur(views: Tensor, sigma: float) -> Tensor:
    radius = max(1, math.ceil(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).repeat(3, 1, 1)
    padded = functional.pad(views, (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel[:, :, None, :], groups=3)
    return functional.conv2d(rows, kernel[:, :, :, None], groups=3)
