"""MTCNN: boxes and five points of faces in any pose, by three networks that each thin out the guesses of the one before."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facerecon.assets import locate
from facerecon.checks import check_range
from facerecon.detection.boxes import squares, suppress
from facerecon.detection.crop import Crop
from facerecon.lazy import Once

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights/mtcnn.safetensors"
WINDOW = 12
PYRAMID_STEP = 0.709
MAX_PROPOSALS = 1500


@dataclass(frozen=True, eq=False)
class MtcnnFaces:
    """N faces: boxes (N, 4) px, logits (N,) log-odds, points (N, 5, 2) px as in `DetectedFace.points5`; best first."""

    boxes: np.ndarray
    logits: np.ndarray
    points: np.ndarray


class Mtcnn:
    """The three networks with their weights (MIT, `assets/weights/mtcnn.md`); thread-safe, loads on first use."""

    def __init__(self) -> None:
        self._weights = Once(_load)

    def detect(self, pixels: np.ndarray, *, min_face: float = 60.0, max_face: float = np.inf,
               thresholds: tuple[float, float, float] = (0.5, 0.6, 0.6)) -> MtcnnFaces:
        """Find faces.

        Args:
            pixels: uint8 RGB (H, W, 3).
            min_face: side of the smallest face to look for, px, at least 12. Time grows with 1 / min_face^2.
            max_face: side of the largest face to look for, px.
            thresholds: probabilities that PNet, RNet and ONet must reach.

        Source: Zhang et al. 2016, section II-A (arXiv 1604.02878).
        """
        import torch

        check_range("min_face", float(min_face), WINDOW)
        first, second, third = (float(np.log(p / (1 - p))) for p in thresholds)
        with torch.inference_mode():
            boxes = self._propose(pixels, min_face, max_face, first)
            boxes = self._refine(pixels, boxes, second)
            return self._finish(pixels, boxes, third)

    def inspect(self, pixels: np.ndarray, boxes: np.ndarray, *, turns: tuple[int, ...] = (0,)) -> list[MtcnnFaces]:
        """What ONet alone says of given boxes (N, 4), in their order; nothing is dropped.

        Args:
            pixels: uint8 RGB (H, W, 3).
            boxes: (N, 4) px.
            turns: degrees clockwise by which the faces are taken to be turned, one answer for each. Each box is looked at
                in a window turned that way; its points are given in the photo, and its box stays as it came.
        """
        import torch

        from facerecon.detection import mtcnn_networks

        crops = [Crop.around(box, size=48, roll=np.radians(turn)) for turn in turns for box in boxes]
        if not crops:
            return [MtcnnFaces(boxes, np.zeros(0), np.zeros((0, 5, 2))) for _ in turns]
        views = np.stack([crop.extract(pixels) for crop in crops])
        with torch.inference_mode():
            logits, _, points = mtcnn_networks.output(self.weights, normalised(views))
        places = points.numpy().astype(np.float64).reshape(-1, 2, 5).swapaxes(1, 2) * 48
        places = np.stack([crop.to_image(place) for crop, place in zip(crops, places)]).reshape(len(turns), -1, 5, 2)
        logits = logits.numpy().astype(np.float64).reshape(len(turns), -1)
        return [MtcnnFaces(np.asarray(boxes), *answer) for answer in zip(logits, places)]

    def _propose(self, pixels: np.ndarray, min_face: float, max_face: float, threshold: float) -> np.ndarray:
        import cv2

        height, width = pixels.shape[:2]
        boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
        factor, level = WINDOW / min_face, pixels
        while min(height, width) * factor >= WINDOW and WINDOW / factor < max_face:
            size = max(WINDOW, round(width * factor)), max(WINDOW, round(height * factor))
            # Every level is made from the one before; the first halving from the picture is the only costly one.
            level = cv2.resize(level, size, interpolation=cv2.INTER_AREA)
            found, score = self._propose_level(level, threshold)
            kept = suppress(found, score, 0.5)
            boxes.append(found[kept] * np.tile([width / size[0], height / size[1]], 2))
            scores.append(score[kept])
            factor *= PYRAMID_STEP
        found, score = np.concatenate(boxes), np.concatenate(scores)
        best = np.argsort(-score, kind="stable")[:MAX_PROPOSALS]
        return found[best][suppress(found[best], score[best], 0.7)]

    def _propose_level(self, level: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        from facerecon.detection import mtcnn_networks

        logits, shifts = mtcnn_networks.proposal(self.weights, normalised(level[None]))
        rows, columns = np.nonzero(logits[0].numpy() > threshold)
        score = logits[0].numpy()[rows, columns]
        best = np.argsort(-score, kind="stable")[:MAX_PROPOSALS]
        rows, columns, score = rows[best], columns[best], score[best]
        corner = np.stack([columns, rows], axis=1) * 2.0
        window = np.concatenate([corner, corner + WINDOW], axis=1)
        return window + WINDOW * shifts[0].numpy()[:, rows, columns].T, score.astype(np.float64)

    def _refine(self, pixels: np.ndarray, boxes: np.ndarray, threshold: float) -> np.ndarray:
        windows = squares(boxes)
        logits, shifts = self._run("refinement", pixels, windows, 24)
        kept = np.flatnonzero(logits > threshold)
        kept = kept[suppress(windows[kept], logits[kept], 0.7)]
        return _shifted(windows[kept], shifts[kept])

    def _finish(self, pixels: np.ndarray, boxes: np.ndarray, threshold: float) -> MtcnnFaces:
        windows = squares(boxes)
        logits, shifts, points = self._run("output", pixels, windows, 48)
        kept = np.flatnonzero(logits > threshold)
        kept = kept[suppress(_shifted(windows[kept], shifts[kept]), logits[kept], 0.7, by_smaller=True)]
        return _faces(windows[kept], logits[kept], shifts[kept], points[kept])

    def _run(self, network: str, pixels: np.ndarray, windows: np.ndarray, size: int) -> list[np.ndarray]:
        from facerecon.detection import mtcnn_networks

        crops = np.zeros((len(windows), size, size, 3), np.uint8)
        for crop, window in zip(crops, windows):
            _cut(pixels, window, crop)
        result = getattr(mtcnn_networks, network)(self.weights, normalised(crops))
        return [part.numpy().astype(np.float64) for part in result]

    @property
    def weights(self) -> dict:
        """Tensors by name, float32."""
        return self._weights()


def _load() -> dict:
    import torch
    from safetensors.torch import load_file

    # Channels last is two to four times faster here, in convolution and pooling.
    return {name: tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
            for name, tensor in load_file(locate(WEIGHTS)).items()}


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """uint8 RGB (N, H, W, 3) as the networks take it: float32 (N, 3, H, W), (value - 127.5) / 128."""
    import torch

    return ((torch.from_numpy(np.ascontiguousarray(pixels)).float() - 127.5) / 128).permute(0, 3, 1, 2)


def _cut(pixels: np.ndarray, window: np.ndarray, crop: np.ndarray) -> None:
    # Whole pixels, black outside the picture, averaged down: what the networks were trained on.
    import cv2

    x0, y0, x1, y1 = np.round(window).astype(int)
    side = max(x1 - x0, y1 - y0, 1)
    x1, y1 = x0 + side, y0 + side
    height, width = pixels.shape[:2]
    inside = pixels[max(y0, 0):max(y1, 0), max(x0, 0):max(x1, 0)]
    if inside.shape[:2] != (side, side):
        padded = np.zeros((side, side, 3), np.uint8)
        top, left = max(-y0, 0), max(-x0, 0)
        padded[top:top + inside.shape[0], left:left + inside.shape[1]] = inside
        inside = padded
    reduce = side > crop.shape[0]
    cv2.resize(inside, crop.shape[1::-1], dst=crop, interpolation=cv2.INTER_AREA if reduce else cv2.INTER_LINEAR)


def _shifted(windows: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    return windows + shifts * (windows[:, 2:] - windows[:, :2])[:, [0, 1, 0, 1]]


def _faces(windows: np.ndarray, logits: np.ndarray, shifts: np.ndarray, points: np.ndarray) -> MtcnnFaces:
    # Windows are counted from the picture's outer edge; half a pixel brings boxes to pixel centres. The points need none:
    # the training labels were indices of pixels, from the index of the window's first pixel.
    span = windows[:, None, 2:] - windows[:, None, :2]
    places = windows[:, None, :2] + points.reshape(-1, 2, 5).swapaxes(1, 2) * span
    return MtcnnFaces(_shifted(windows, shifts) - 0.5, logits, places)
