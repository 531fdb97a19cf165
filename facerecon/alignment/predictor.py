"""Landmarks of faces in photos, by a heatmap network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from facerecon.alignment.heatmaps import METHODS, decode_heatmaps
from facerecon.alignment.scheme import LandmarkScheme
from facerecon.alignment.task import LandmarkTask
from facerecon.assets import weights_path
from facerecon.checks import check_choice, check_range, check_shape
from facerecon.data import load_image
from facerecon.detection import Crop, CropRule, cut_square
from facerecon.detection.boxes import checked_box
from facerecon.errors import ArgumentError, ModelError
from facerecon.gmda import load_network, normalise
from facerecon.gmda.device import choose_device


class Landmarks(NamedTuple):
    """Points (..., L, 2) float64 x, y in px of the picture that was given, and the confidence (..., L) of each in [0, 1]."""

    points: np.ndarray
    confidence: np.ndarray


class LandmarkPredictor:
    """Finds the landmarks of faces whose place is known; thread-safe, and nothing is kept between two calls.

    Args:
        network: (B, 3, S, S) images minus the mean (`facerecon.gmda.normalise`) to (B, L, M, M) maps, with attributes
            `image_size` and `outputs`, as the networks of `facerecon.gmda`. It is put into evaluation mode and moved to the
            device.
        task: scheme and crop of its training.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        method: how maps are decoded, see `decode_heatmaps`; by default as the task says.
        mirror: average the maps with those of the mirrored crop: slower by half, and steadier.
        batch_size: crops that go through the network at once.

    Raises:
        ModelError: `model_invalid` when the network has another number of maps than the scheme has points.
        BackendError: `device_missing`.
    """

    def __init__(self, network: torch.nn.Module, task: LandmarkTask, *, device: str = "cpu", method: str | None = None,
                 mirror: bool = False, batch_size: int = 32) -> None:
        if network.outputs != len(task.scheme):
            raise ModelError(f"wanted as many maps as scheme {task.scheme.name!r} has points ({len(task.scheme)}), "
                             f"got {network.outputs}")
        check_range("batch_size", batch_size, 1)
        self._device = choose_device(device)
        self._network = network.eval().to(self._device)
        self._task, self._mirror, self._batch_size = task, mirror, batch_size
        self._method = check_choice("method", task.decoding if method is None else method, METHODS)
        self._flip = torch.tensor(task.scheme.flip)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> LandmarkPredictor:
        """A predictor from a weights file that `facerecon train` wrote, or by the name of weights that ship ("landmarks-128");
        `options` are those of the class.

        Raises:
            ModelError: `model_missing`, `unsafe_format`, `model_corrupt`; `model_invalid` for the weights of another task.
        """
        loaded = load_network(weights_path(path))
        try:
            return cls(loaded.network, LandmarkTask.from_dict(loaded.header["task"]), **options)
        except ModelError as error:
            raise ModelError(f"{os.fspath(path)}: {error.message}", code=error.code) from error

    @property
    def scheme(self) -> LandmarkScheme:
        """Of the points."""
        return self._task.scheme

    @property
    def crop_rule(self) -> CropRule:
        """Of the crops that it was trained on."""
        return self._task.crop

    @property
    def image_size(self) -> int:
        """Side of the network's input, px."""
        return self._network.image_size

    def predict(self, image: Any, box: Sequence[float] | None = None, *, box_of: str = "detector") -> Landmarks:
        """The landmarks of one face.

        Args:
            image: anything that `facerecon.load_image` reads, such as an RGB array (H, W, 3), uint8 or float in [0, 1].
            box: x0, y0, x1, y1 px of the upright image; it may reach outside. None: the image is a face crop as in training.
            box_of: "detector" for a box as `facerecon.detection.FaceFinder` gives it, "points" for the box of the landmarks.

        Returns:
            (L, 2) points in px of the upright image, and (L,) confidences.

        Raises:
            FaceError: `box_invalid`. ImageError, PathError: see `load_image`.
        """
        points, confidence = self.predict_boxes(image, None if box is None else [box], box_of=box_of)
        return Landmarks(points[0], confidence[0])

    def predict_boxes(self, image: Any, boxes: Sequence[Sequence[float]] | None, *, box_of: str = "detector") -> Landmarks:
        """As `predict` for N faces of one image: points (N, L, 2) and confidences (N, L)."""
        pixels = load_image(image).pixels
        height, width = pixels.shape[:2]
        if boxes is None:
            crops = [Crop(((width - 1) / 2, (height - 1) / 2), max(width, height), self.image_size)]
        else:
            crops = [self._task.crop.crop(checked_box(box, width, height), size=self.image_size, box_of=box_of)
                     for box in boxes]
        if not crops:
            return Landmarks(np.zeros((0, len(self.scheme), 2)), np.zeros((0, len(self.scheme))))
        return self._decode([cut_square(pixels, crop) for crop in crops], crops)

    def predict_crops(self, crops: np.ndarray | Sequence[np.ndarray]) -> Landmarks:
        """The landmarks of face crops as in training.

        Args:
            crops: (N, S, S, 3) RGB, uint8 or float in [0, 1], or a sequence of (S, S, 3) of one or several sizes; any S.

        Returns:
            (N, L, 2) points in px of each crop, and (N, L) confidences.
        """
        return self._decode(*self._inputs(crops))

    def heatmaps(self, crops: np.ndarray | Sequence[np.ndarray]) -> Tensor:
        """The raw maps (N, L, M, M) float32 of face crops, see `predict_crops`; what acquisition functions score."""
        return self._maps(self._inputs(crops)[0])

    def _inputs(self, crops: np.ndarray | Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[Crop]]:
        squares, ways = [], []
        for pixels in crops:
            check_shape("crops", pixels, (None, pixels.shape[0] if getattr(pixels, "ndim", 0) else None, 3))
            if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
                raise ArgumentError(f"crops: wanted RGB as uint8, or as floats in [0, 1], got {pixels.dtype}",
                                    code="dtype_invalid")
            side = len(pixels)
            way = Crop(((side - 1) / 2, (side - 1) / 2), side, self.image_size)
            squares.append(np.ascontiguousarray(pixels) if side == self.image_size else cut_square(pixels, way))
            ways.append(way)
        return squares, ways

    def _decode(self, squares: list[np.ndarray], ways: list[Crop]) -> Landmarks:
        points, confidence = decode_heatmaps(self._maps(squares), image_size=self.image_size, method=self._method)
        mapped = [way.to_image(face) for way, face in zip(ways, points.double().numpy())]
        return Landmarks(np.stack(mapped), confidence.double().numpy())

    def _maps(self, squares: list[np.ndarray]) -> Tensor:
        maps = [self._forward(squares[start:start + self._batch_size]) for start in range(0, len(squares), self._batch_size)]
        if not maps:
            raise ArgumentError("crops: wanted at least one, got none")
        return torch.cat(maps)

    @torch.inference_mode()
    def _forward(self, squares: list[np.ndarray]) -> Tensor:
        images = normalise(torch.stack([_unit(square) for square in squares]).permute(0, 3, 1, 2).to(self._device))
        maps = self._network(images).float().cpu()
        if self._mirror:
            mirrored = self._network(images.flip(3)).float().cpu().flip(3)
            maps = (maps + mirrored[:, self._flip]) / 2
        if not bool(torch.isfinite(maps).all()):
            raise ModelError("the landmark network gave maps that are not finite; its weights cannot be used",
                             code="model_corrupt")
        return maps


def _unit(pixels: np.ndarray) -> Tensor:
    """Pixels (S, S, 3), uint8 or float in [0, 1], as float32 in [0, 1]."""
    if pixels.dtype == np.uint8:
        return torch.from_numpy(pixels).float() / 255
    values = torch.from_numpy(pixels.astype(np.float32))
    if not bool(((values >= -1e-3) & (values <= 1.001)).all()):
        raise ArgumentError("crops: wanted floats in [0, 1], got others; divide by 255, or give uint8")
    return values
