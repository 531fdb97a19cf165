"""Projected normalised coordinate codes of faces in photos, by a trained network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from facerecon.assets import weights_path
from facerecon.checks import check_range, check_shape
from facerecon.data import load_image
from facerecon.detection import Crop, cut_square
from facerecon.detection.boxes import checked_box
from facerecon.errors import ModelError
from facerecon.gmda import MAP_SIZE, load_network, normalise
from facerecon.gmda.device import choose_device
from facerecon.pncc.code import cleaned
from facerecon.pncc.task import PnccTask


@dataclasses.dataclass(frozen=True, eq=False)
class PnccPrediction:
    """The code of one face.

    Attributes:
        code: (128, 128, 3) float32 in [0, 1], background exactly 0, in the frame of `crop`.
        crop: from photo px to code px and back.
    """

    code: np.ndarray
    crop: Crop

    def in_photo(self, image_size: tuple[int, int]) -> np.ndarray:
        """(H, W, 3) float32 in the frame of a photo of that size (height, width), background 0.

        Colours are interpolated over the face's own pixels alone: a mean of face and background would be another place of the
        face.
        """
        import cv2

        height, width = image_size
        photo = np.zeros((height, width, 3), np.float32)
        # Only the crop's window is drawn: photos have many megapixels, faces seldom.
        reach = self.crop.side / 2 * np.array([[-1, -1], [1, 1]])
        (x0, y0), (x1, y1) = np.clip(np.rint(self.crop.centre + reach).astype(int), 0, (width, height))
        if x1 > x0 and y1 > y0:
            x, y = self.crop.centre
            matrix = dataclasses.replace(self.crop, centre=(x - x0, y - y0)).matrix
            # The matrix maps photo px to code px, which is the map that warpAffine would otherwise invert.
            way = {"dsize": (int(x1 - x0), int(y1 - y0)), "flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP}
            share = cv2.warpAffine((self.code > 0).any(-1).astype(np.float32), matrix, **way)[..., None]
            colours = cv2.warpAffine(self.code, matrix, **way)
            photo[y0:y1, x0:x1] = np.where(share >= 0.5, colours / np.maximum(share, 0.5), 0)
        return photo


class PnccPredictor:
    """Gives the codes of faces whose place is known; thread-safe, and nothing is kept between two calls.

    The network's maps are clipped to [0, 1], and a pixel whose largest channel is below `task.least` (0.15) is background and
    becomes 0: the darkest place of the open model's code has 0.155 in its largest channel.

    Args:
        network: (B, 3, S, S) images minus the mean (`facerecon.gmda.normalise`) to (B, 3, 128, 128) maps, with attributes
            `image_size` and `outputs`. It is put into evaluation mode and moved to the device.
        task: whose code, and the crop of its training.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        batch_size: crops that go through the network at once.

    Raises:
        ModelError: `model_invalid` when the network does not give three maps. BackendError: `device_missing`.
    """

    def __init__(self, network: torch.nn.Module, task: PnccTask, *, device: str = "cpu", batch_size: int = 16) -> None:
        if getattr(network, "outputs", None) != 3:
            raise ModelError(f"wanted a network of three maps, x, y and z; got {getattr(network, 'outputs', 'an autoencoder')}")
        self._batch_size = int(check_range("batch_size", batch_size, 1))
        self._device = choose_device(device)
        self._network = network.eval().to(self._device)
        self.task = task

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> PnccPredictor:
        """A predictor from a weights file that `facerecon train` wrote, or by the name of weights that ship ("pncc-128");
        `options` are those of the class.

        Raises:
            ModelError: `model_missing`, `unsafe_format`, `model_corrupt`; `model_invalid` for the weights of another task.
        """
        loaded = load_network(weights_path(path))
        try:
            return cls(loaded.network, PnccTask.from_dict(loaded.header["task"]), **options)
        except ModelError as error:
            raise ModelError(f"{os.fspath(path)}: {error.message}", code=error.code) from error

    @property
    def image_size(self) -> int:
        """Side of the network's input, px."""
        return self._network.image_size

    def predict(self, image: Any, box: Sequence[float] | None = None, *, box_of: str = "detector") -> PnccPrediction:
        """The code of one face.

        Args:
            image: anything that `facerecon.load_image` reads, such as an RGB array (H, W, 3).
            box: x0, y0, x1, y1 px of the upright image; it may reach outside. None: the image is a face crop as in training.
            box_of: "detector" for a box as `facerecon.detection.FaceFinder` gives it, "points" for the box of landmarks.

        Raises:
            FaceError: `box_invalid`. ImageError, PathError: see `load_image`. ModelError: `model_corrupt` when the network
            gives numbers that are not finite.
        """
        return self.predict_boxes(image, None if box is None else [box], box_of=box_of)[0]

    def predict_boxes(self, image: Any, boxes: Sequence[Sequence[float]] | None, *,
                      box_of: str = "detector") -> list[PnccPrediction]:
        """As `predict` for several faces of one image, in the order of their boxes."""
        pixels = load_image(image).pixels
        height, width = pixels.shape[:2]
        if boxes is None:
            crops = [Crop(((width - 1) / 2, (height - 1) / 2), max(width, height), self.image_size)]
        else:
            crops = [self.task.crop.crop(checked_box(box, width, height), size=self.image_size, box_of=box_of) for box in boxes]
        squares = [cut_square(pixels, crop) for crop in crops]
        codes = self.predict_crops(np.stack(squares)) if squares else ()
        return [PnccPrediction(code, dataclasses.replace(crop, size=MAP_SIZE)) for code, crop in zip(codes, crops)]

    @torch.inference_mode()
    def predict_crops(self, images: np.ndarray) -> np.ndarray:
        """Codes (N, 128, 128, 3) float32 of face crops (N, S, S, 3) uint8 as in training, S the network's image size."""
        check_shape("images", images, (None, self.image_size, self.image_size, 3))
        codes = np.zeros((len(images), MAP_SIZE, MAP_SIZE, 3), np.float32)
        for start in range(0, len(images), self._batch_size):
            part = slice(start, start + self._batch_size)
            pixels = torch.from_numpy(images[part]).to(self._device).permute(0, 3, 1, 2).float() / 255
            codes[part] = self._network(normalise(pixels)).permute(0, 2, 3, 1).float().cpu().numpy()
        if not np.isfinite(codes).all():
            raise ModelError("the PNCC network gave maps that are not finite; its weights cannot be used", code="model_corrupt")
        return cleaned(codes, least=self.task.least)
