"""YuNet: faces in one pass of a tiny network; finds profiles that a cascade of windows does not.

Source: Wu, Peng, Yu: YuNet: A Tiny Millisecond-level Face Detector, Machine Intelligence Research 2023. Weights: see
`assets/weights/yunet.md`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facerecon.assets import locate
from facerecon.checks import check_range
from facerecon.detection.boxes import suppress
from facerecon.lazy import Once

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights/yunet.safetensors"
STRIDES = (8, 16, 32)
# Faces of 10 to 300 px are what the network was made for. A border brings a face that fills the photo among them.
SIDE, BORDER = 320, 0.25
SAME_FACE_IOU = 0.3


class YuNetFaces(NamedTuple):
    """N faces: boxes (N, 4) px, scores (N,) in [0, 1], points (N, 5, 2) px as in `DetectedFace.points5`; best first."""

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray


class YuNet:
    """The network with its weights; thread-safe, loads on first use."""

    def __init__(self) -> None:
        self._weights = Once(_load)

    def detect(self, pixels: np.ndarray, *, least: float = 0.5) -> YuNetFaces:
        """Find faces of a twentieth of the photo's longer side or more; a mirrored photo gives the mirrored answer.

        Args:
            pixels: uint8 RGB (H, W, 3).
            least: lowest score.
        """
        import cv2
        import torch

        check_range("least", float(least), 0, 1)
        height, width = pixels.shape[:2]
        scale = SIDE / ((1 + 2 * BORDER) * max(height, width))
        # Even sides have equal borders, left and right.
        small = cv2.resize(pixels, tuple(2 * max(round(side * scale / 2), 1) for side in (width, height)),
                           interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
        top, left = (SIDE - small.shape[0]) // 2, (SIDE - small.shape[1]) // 2
        canvas[top:top + small.shape[0], left:left + small.shape[1]] = small
        with torch.inference_mode():
            # The network takes blue first, and values as they are.
            given = torch.from_numpy(np.ascontiguousarray(canvas[..., ::-1])).permute(2, 0, 1)[None].float()
            # It knows right profiles better than left ones: both ways round are asked.
            levels = raw_outputs(self.weights, torch.cat([given, given.flip(3)]))
            ways = [decode(levels), mirrored(*decode(levels, picture=1))]
            boxes, scores, points = (torch.cat(parts).numpy().astype(np.float64) for parts in zip(*ways))
        sure = np.flatnonzero(scores >= least)
        kept = sure[suppress(boxes[sure], scores[sure], SAME_FACE_IOU)]
        back = np.array([width / small.shape[1], height / small.shape[0]])
        # Pixel centres: both pictures have them at integers, and their outer edges are the same.
        shift = np.array([left, top]) - 0.5
        return YuNetFaces(((boxes[kept].reshape(-1, 2, 2) - shift) * back - 0.5).reshape(-1, 4), scores[kept],
                          (points[kept] - shift) * back - 0.5)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Tensors by name, float32."""
        return self._weights()


def _load() -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(locate(WEIGHTS))


def raw_outputs(weights: dict[str, torch.Tensor], pixels: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """The heads of the three levels, finest first, each {"face", "object", "box", "points"}: (N, 1 | 1 | 4 | 10, h, w).

    Args:
        weights: by name; `stem` is a 3 x 3 convolution, every other layer a pointwise and a depthwise one.
        pixels: (N, 3, H, W) float32 BGR in [0, 255], sides multiples of 32.
    """
    import torch.nn.functional as F

    def unit(name: str, x: torch.Tensor, *, relu: bool = True) -> torch.Tensor:
        x = F.conv2d(x, weights[f"{name}.point.weight"], weights[f"{name}.point.bias"])
        depth = weights[f"{name}.depth.weight"]
        x = F.conv2d(x, depth, weights[f"{name}.depth.bias"], padding=1, groups=len(depth))
        return F.relu(x) if relu else x

    def stage(number: int, x: torch.Tensor) -> torch.Tensor:
        return unit(f"stage{number}.b", unit(f"stage{number}.a", x))

    x = F.relu(F.conv2d(pixels, weights["stem.weight"], weights["stem.bias"], stride=2, padding=1))
    x = F.max_pool2d(unit("stage0.a", x), 2)
    x = F.max_pool2d(stage(2, stage(1, x)), 2)
    fine = stage(3, x)
    middle = stage(4, F.max_pool2d(fine, 2))
    coarse = unit("neck2", stage(5, F.max_pool2d(middle, 2)))
    middle = unit("neck1", middle + F.interpolate(coarse, scale_factor=2, mode="nearest"))
    fine = unit("neck0", fine + F.interpolate(middle, scale_factor=2, mode="nearest"))
    return [{head: unit(f"{head}{level}", x, relu=False) for head in ("face", "object", "box", "points")}
            for level, x in enumerate((fine, middle, coarse))]


def mirrored(boxes: torch.Tensor, scores: torch.Tensor, points: torch.Tensor, *, width: int = SIDE
             ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What was found in a mirrored picture of this width, as it lies in the picture itself."""
    def flipped(places: torch.Tensor) -> torch.Tensor:
        places = places.clone()
        places[..., 0] = width - 1 - places[..., 0]
        return places

    # What was on the left is on the right: the edges of the box, the eyes, and the corners of the mouth.
    corners = flipped(boxes.reshape(-1, 2, 2)).flatten(1)[:, [2, 1, 0, 3]]
    return corners, scores, flipped(points)[:, [1, 0, 2, 4, 3]]


def decode(levels: list[dict[str, torch.Tensor]], *, picture: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes (M, 4), scores (M,) and points (M, 5, 2) of one picture of a batch, in px of the network's input.

    A cell of stride s at (x, y) speaks of the place (s x, s y): centre and points in strides from it, sizes as logarithms of
    strides; its score is the geometric mean of the chances of a face and of an object.
    """
    import torch

    boxes, scores, points = [], [], []
    for stride, heads in zip(STRIDES, levels):
        face, thing, box, five = (heads[name][picture].flatten(1).T for name in ("face", "object", "box", "points"))
        height, width = heads["face"].shape[2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        place = torch.stack([columns, rows], dim=-1).reshape(-1, 2) * float(stride)
        centre, half = place + stride * box[:, :2], 0.5 * stride * box[:, 2:].exp()
        boxes.append(torch.cat([centre - half, centre + half], dim=1))
        scores.append((face.sigmoid() * thing.sigmoid()).sqrt()[:, 0])
        points.append(place[:, None] + stride * five.reshape(-1, 5, 2))
    return torch.cat(boxes), torch.cat(scores), torch.cat(points)
