"""Face parameters from photos in one forward pass."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from facerecon.checks import check_range, check_shape
from facerecon.data import load_image
from facerecon.data.limits import check_size
from facerecon.detection import Crop, cut_square, pose_to_photo
from facerecon.detection.boxes import checked_box, points_box
from facerecon.detection.crop_pose import roll_matrix
from facerecon.detection.crop_rule import unrolled
from facerecon.errors import ArgumentError, FaceError, LandmarkError, ModelError
from facerecon.gmda.device import choose_device
from facerecon.mofa.code import FaceCode, read_code
from facerecon.mofa.encoder import encoder_input
from facerecon.mofa.weights import EncoderFile, load_encoder
from facerecon.morphable.parameters import FaceParameters
from facerecon.morphable.schemes import IBUG68_FLIP
from facerecon.render import turned_light

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel

SCHEME = "ibug68"


class CodeMaps(Protocol):
    """What the predictor needs of a PNCC network; `facerecon.pncc.PnccPredictor` is one."""

    task: Any
    image_size: int

    def predict_crops(self, images: np.ndarray) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True, eq=False)
class EncoderResult:
    """What an encoder reads from one face of a photo.

    Attributes:
        parameters: with the pose in px of the upright photo.
        landmarks68: (68, 2) float32 px of the photo, iBUG order.
        crop: from photo px to crop px and back.
        code: of this face alone, in crop px.
        pncc: (128, 128, 3) float32 in [0, 1], the encoder's further input; None for an encoder of three channels.
    """

    parameters: FaceParameters
    landmarks68: np.ndarray
    crop: Crop
    code: FaceCode
    pncc: np.ndarray | None = None


class EncoderPredictor:
    """Gives the parameters of faces whose place is known; thread-safe, and nothing is kept between two calls.

    Args:
        model: the face model that the encoder was trained for.
        weights: a file that `save_encoder` wrote, or what `load_encoder` gave; its encoder is put into evaluation mode and
            moved to the device.
        pncc: the PNCC network whose maps an encoder of six channels is given; it must know the same crops.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        batch_size: crops that go through the network at once.

    Raises:
        ModelError: see `load_encoder`; `model_invalid` for another face model, or a PNCC network of another model or other
            crops.
        BackendError: `device_missing`.
    """

    def __init__(self, model: MorphableModel, weights: EncoderFile | str | os.PathLike[str], *, pncc: CodeMaps | None = None,
                 device: str = "cpu", batch_size: int = 16) -> None:
        file = weights if isinstance(weights, EncoderFile) else load_encoder(weights)
        file.facts.check(model)
        self._batch_size = int(check_range("batch_size", batch_size, 1))
        self._device = choose_device(device)
        # Convolutions on CPUs are a sixth faster on channels that lie side by side.
        self._encoder = file.encoder.eval().to(self._device, memory_format=torch.channels_last)
        self._pncc = pncc if file.encoder.uses_pncc else None
        if self._pncc is not None:
            _check_maps(pncc, file)
        self.model, self.facts, self.layout = model, file.facts, file.layout

    @property
    def image_size(self) -> int:
        """Side of the encoder's crops, px."""
        return self._encoder.image_size

    @property
    def uses_pncc(self) -> bool:
        """Whether the encoder wants codes besides photos."""
        return self._encoder.uses_pncc

    def predict(self, image: Any, box: Sequence[float] | None = None, *, points: Any = None, box_of: str = "detector",
                pncc: np.ndarray | None = None, roll: float = 0.0) -> EncoderResult:
        """The parameters of one face.

        Args:
            image: anything that `facerecon.load_image` reads, such as an RGB array (H, W, 3) uint8.
            box: x0, y0, x1, y1 px of the upright image; it may reach outside.
            points: (68, 2 or more) px, landmarks; the crop is then that of their box, as in training, and `box` is not used.
                With neither box nor points the image is a face crop as in training.
            box_of: "detector" for a box as `facerecon.detection.FaceFinder` gives it, "points" for the box of landmarks.
            pncc: (128, 128, 3), the code of this crop if the caller has one; None for the network's.
            roll: radians by which the face lies in the photo, clockwise as seen: the network knows upright faces. For box and
                points alone.

        Raises:
            FaceError: `box_invalid`. LandmarkError: `landmarks_count`, `landmarks_nonfinite`, `landmarks_degenerate`,
            `landmarks_outside`. ImageError, PathError: see `load_image`. ArgumentError: for an encoder that wants a code when
            there is none. ModelError: `model_corrupt` when a network gives numbers that are not finite.
        """
        pixels = _pixels(image)
        height, width = pixels.shape[:2]
        if points is not None:
            crop = self.facts.crop.around_points(_checked_landmarks(points, width, height), size=self.image_size, roll=float(roll))
        elif box is not None:
            box = checked_box(box, width, height)
            if roll:
                box = points_box(unrolled(box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2), roll))
            crop = self.facts.crop.crop(box, size=self.image_size, box_of=box_of, roll=float(roll))
        else:
            crop = Crop(((width - 1) / 2, (height - 1) / 2), float(max(width, height)), self.image_size)
        codes = None if pncc is None else np.asarray(pncc)[None]
        if codes is None and self._pncc is not None:
            codes = self._pncc.predict_crops(cut_square(pixels, dataclasses.replace(crop, size=self._pncc.image_size))[None])
        code = self.predict_crops(cut_square(pixels, crop)[None], pncc=codes)
        return self._result(code, crop, None if codes is None else codes[0])

    @torch.inference_mode()
    def predict_crops(self, images: np.ndarray, *, pncc: np.ndarray | None = None) -> FaceCode:
        """The codes, in crop px on the CPU, of face crops (N, S, S, 3) uint8 as in training; S is the encoder's image size.

        Args:
            pncc: (N, 128, 128, 3) in [0, 1], the codes of the crops; None for those of the PNCC network, which sees the crops
                resized to its own size.
        """
        size = self.image_size
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise ArgumentError(f"images: wanted uint8, got {images.dtype}", code="dtype_invalid")
        check_shape("images", images, (None, size, size, 3))
        if self.uses_pncc and pncc is None and len(images):
            pncc = self._maps_of(images)
        raw = torch.zeros(len(images), self.layout.size)
        for start in range(0, len(images), self._batch_size):
            part = slice(start, start + self._batch_size)
            codes = None
            if self.uses_pncc:
                codes = torch.from_numpy(np.array(pncc[part], np.float32, order="C"))
            given = encoder_input(torch.from_numpy(np.array(images[part], order="C")), codes)
            raw[part] = self._encoder(given.to(self._device, memory_format=torch.channels_last)).float().cpu()
        if not bool(raw.isfinite().all()):
            raise ModelError("the encoder gave numbers that are not finite; its weights cannot be used", code="model_corrupt")
        return read_code(raw, self.layout, image_size=size)

    def _maps_of(self, images: np.ndarray) -> np.ndarray:
        if self._pncc is None:
            raise ArgumentError("pncc: the encoder was trained with PNCC input; give a PNCC network, or the codes")
        if self._pncc.image_size != images.shape[1]:
            whole = Crop(((images.shape[1] - 1) / 2,) * 2, float(images.shape[1]), self._pncc.image_size)
            images = np.stack([cut_square(image, whole) for image in images])
        return self._pncc.predict_crops(images)

    def mirrored_landmarks(self, image: Any, result: EncoderResult) -> np.ndarray:
        """The landmarks (68, 2) float32 px that the encoder sees when it is shown the crop of `result` mirrored.

        Their mean with `result.landmarks68` is nearer to the truth than either, for the time of a second pass.
        """
        crop = np.ascontiguousarray(cut_square(_pixels(image), result.crop)[:, ::-1])
        code = self.predict_crops(crop[None])
        points = self._landmarks(code, code.parameters(0, self.model))[list(IBUG68_FLIP)]
        points[:, 0] = self.image_size - 1 - points[:, 0]
        return result.crop.to_image(points)

    def _result(self, code: FaceCode, crop: Crop, pncc: np.ndarray | None) -> EncoderResult:
        parameters = code.parameters(0, self.model)
        landmarks = crop.to_image(self._landmarks(code, parameters))
        parameters = parameters.replace(pose=pose_to_photo(parameters.pose, crop),
                                        illumination=turned_light(parameters.illumination, roll_matrix(crop.roll)))
        return EncoderResult(parameters, landmarks, crop, code, pncc)

    def _landmarks(self, code: FaceCode, parameters: FaceParameters) -> np.ndarray:
        """(68, 2) float32 px of the crop."""
        shape = (part.to(self.model.mean) for part in (parameters.identity, parameters.expression))
        points = self.model.landmarks(SCHEME, *shape)
        # A pinhole's picture of the points is its own; the pose only agrees with it around the anchor.
        return code.camera.project(points.detach().cpu().float()[None])[0, :, :2].numpy()


def _pixels(image: Any) -> np.ndarray:
    """(H, W, 3) uint8. What is so already is not copied: copying takes as long as the network on a photo of 12 megapixels."""
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        check_size(image.shape[1], image.shape[0])
        return image
    return load_image(image).pixels


def _check_maps(pncc: CodeMaps, file: EncoderFile) -> None:
    task = pncc.task
    if task.topology_sha256 != file.facts.topology_sha256:
        raise ModelError(f"pncc: wanted a network for the face model {file.facts.model!r}, got one for {task.model!r}")
    if task.crop != file.facts.crop:
        raise ModelError(f"pncc: wanted a network trained on the encoder's crops {file.facts.crop}, got {task.crop}")


def _checked_landmarks(points: Any, width: int, height: int) -> np.ndarray:
    """(68, 2 or more) float64 px."""
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[0] != 68 or points.shape[1] < 2:
        raise LandmarkError(f"points: wanted 68 landmarks (68, 2), got {points.shape}", code="landmarks_count")
    if not np.isfinite(points[:, :2]).all():
        raise LandmarkError("points: wanted finite landmarks, got NaN or infinite ones", code="landmarks_nonfinite")
    box = points_box(points)
    if min(box[2] - box[0], box[3] - box[1]) < 2:
        raise LandmarkError(f"points: wanted landmarks at least 2 px apart in both directions, got the box {box.tolist()}",
                            code="landmarks_degenerate")
    try:
        checked_box(box, width, height)
    except FaceError as error:
        raise LandmarkError(f"points: {error.message}", code="landmarks_outside") from error
    return points
