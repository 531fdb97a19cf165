"""Photos as they are, with the parameters of their fit as the truth: real pictures for supervised training."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import torch

from facerecon.detection import CropRule, cut_square, pose_to_crop
from facerecon.fitting.threads import one_thread
from facerecon.morphable import MorphableModel
from facerecon.synthesis.heads import MARGIN
from facerecon.synthesis.photo_source import PhotoOptions, PhotoSource
from facerecon.synthesis.sample import SyntheticFace
from facerecon.synthesis.truth import label_face

# Counts changes of the pictures that a photo gives: archives of different generators are not mixed.
GENERATOR = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedOptions(PhotoOptions):
    """What photos are fitted; see `PhotoOptions`. Nearly every photo can be fitted, so a fit must be better to count."""

    stage: str = "colours"
    largest_residual: float = 1.5
    largest_rmse: float = 0.1

    def open(self) -> FittedSource:
        """List the photos and load what fitting needs; a `FaceSource`."""
        return FittedSource(self)


class FittedSource(PhotoSource):
    """Photos as a source of faces; see `facerecon.synthesis.source.FaceSource`.

    Item i is photo i, cropped as a detector would crop it, with the fit's parameters, landmarks and maps. Albedo and light of a
    fit to landmarks alone are unknown: NaN in the archive, so that training does not learn the mean face's.
    """

    def __init__(self, options: FittedOptions, *, model: MorphableModel | None = None) -> None:
        super().__init__(options, {"source": "fitted", "generator": GENERATOR}, model=model)

    def make(self, index: int) -> list[SyntheticFace]:
        """The face of photo `index`: bit-equal for equal options, whatever else is made.

        Raises:
            FaceReconError: see `PhotoSource.fitted`.
        """
        photo, pixels, fit = self.fitted(index)
        generator = np.random.default_rng([self._options.seed, zlib.crc32(photo.name.encode())])
        parameters = fit.parameters
        with torch.no_grad(), one_thread():
            points = self._model.landmarks("ibug68", parameters.identity, parameters.expression)
            placed = parameters.pose.project(points)[:, :2].double().numpy()
            box = np.concatenate([placed.min(axis=0), placed.max(axis=0)])
            crop = CropRule(margin=generator.uniform(*MARGIN)).crop(box, size=self._options.size, box_of="points")
            moved = parameters.replace(pose=pose_to_crop(parameters.pose, crop))
            face = label_face(self._model, moved, cut_square(pixels, crop), name=f"{photo.name}.jpg",
                              subject=photo.subject or photo.name, maps=self._options.maps)
        return [dataclasses.replace(face, colours_known=fit.photometric_rmse is not None)]
