"""Photos whose fit becomes their ground truth: which are taken, how they are fitted, and which fits are good enough."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from facerecon.checks import check_choice, check_range
from facerecon.data.splits import SPLITS, split_of
from facerecon.detection import FaceFinder
from facerecon.detection.selection import choose_faces
from facerecon.errors import DatasetError, FaceError, FitError
from facerecon.fitting import FitResult, fit_colours, fit_landmarks, refine_photometric
from facerecon.morphable import MorphableModel, load_model
from facerecon.morphable.schemes import IBUG68_TO_MEDIAPIPE478
from facerecon.synthesis.archive import describe_model
from facerecon.synthesis.profile_photos import Photo, list_photos
from facerecon.synthesis.sample import MAPS
from facerecon.synthesis.source import SIZES, check_whole

STAGES = ("landmarks", "colours", "full")
PEOPLE = ("all", *SPLITS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitRule:
    """How a photo is fitted, and which fits count.

    Attributes:
        stage: "landmarks"; "colours", which solves albedo and light in closed form; or "full", which moves the geometry too.
        largest_residual: mean distance of the landmarks, percent of the root of their box's area, of a fit that counts;
            beyond, the surface slides under the photo.
        largest_rmse: root mean square colour difference over visible skin, in [0, 1], of a fit that counts; not asked of
            "landmarks".
    """

    stage: str = "full"
    largest_residual: float = 2.5
    largest_rmse: float = 1.0

    def __post_init__(self) -> None:
        check_choice("stage", self.stage, STAGES)
        check_range("largest_residual", float(self.largest_residual), 0.0)
        check_range("largest_rmse", float(self.largest_rmse), 0.0)


def fit_photo(finder: FaceFinder, model: MorphableModel, pixels: np.ndarray, rule: FitRule = FitRule()) -> FitResult:
    """Fit the largest face of a photo, if the fit can be relied on.

    Args:
        finder: of faces and their 478 landmarks.
        model: the face model.
        pixels: (H, W, 3) uint8 RGB, upright.
        rule: the stages, and what counts as a fit.

    Raises:
        FaceError: `no_face` (also without dense landmarks), `face_too_small`, `pose_out_of_range`.
        FitError: `fit_failed` where the model does not follow the landmarks or does not explain the colours.
        LandmarkError: see `fit_landmarks`.
    """
    face = choose_faces(finder, pixels, limit=1)[0]
    if face.points478 is None:
        raise FaceError("the face has no dense landmarks, which a fit to rely on wants; give a sharper or freer face",
                        code="no_face")
    dense = "mediapipe478" in model.embeddings
    points = face.points478 if dense else face.points478[list(IBUG68_TO_MEDIAPIPE478)]
    fit = fit_landmarks(model, points, scheme="mediapipe478" if dense else "ibug68")
    if fit.landmark_nme_percent > rule.largest_residual or "poor_fit" in fit.flags:
        raise FitError(f"wanted a fit within {rule.largest_residual} % of the landmarks, got {fit.landmark_nme_percent:.2f} %; "
                       "give a sharper or freer face", code="fit_failed")
    if "pose_out_of_range" in fit.flags:
        raise FaceError("the head looks too far away from the camera to rely on its fit", code="pose_out_of_range")
    if rule.stage == "landmarks":
        return fit
    fit = (refine_photometric if rule.stage == "full" else fit_colours)(model, pixels, fit)
    # A face without visible skin has no colours to be judged by.
    if fit.photometric_rmse is not None and fit.photometric_rmse > rule.largest_rmse:
        raise FitError(f"wanted colours within {rule.largest_rmse} of the photo's, got {fit.photometric_rmse:.3f}; give an "
                       "evenly lit face", code="fit_failed")
    return fit


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoOptions(FitRule):
    """Which photos are taken, and what is made of each.

    Attributes:
        folder: of photos, or a crop archive.
        count: most photos; None: all.
        seed: of the crops.
        size: side of the pictures, px.
        model: "open" or the path of a .facemodel.
        maps: of "pncc", "depth", "normals".
        every: take every n-th photo.
        people: "all", or those of some splits, "train,validation", see `data.splits`; a photo of an unnamed person goes by its
            own name, and is never in "test", since nobody knows in which other photos that person is.
    """

    folder: str | os.PathLike[str]
    count: int | None = None
    seed: int = 0
    size: int = 192
    model: str = "open"
    maps: tuple[str, ...] = ("pncc",)
    every: int = 1
    people: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, limits in (("seed", self.seed, (0,)), ("size", self.size, SIZES), ("every", self.every, (1,)),
                                    ("count", 1 if self.count is None else self.count, (1,))):
            check_whole(name, value, *limits)
        for name in self.maps:
            check_choice("maps", name, MAPS)
        for name in self.people.split(","):
            check_choice("people", name, PEOPLE)


class PhotoSource:
    """The photos of `PhotoOptions` in order, each with its fit. A context manager.

    Args:
        options: which photos. about: what else every byte of the pictures depends on.
        model: the loaded model, if there is one.

    Attributes:
        about: what pictures made of the photos depend on, see `FaceSource`.
        photos: that are taken.
    """

    def __init__(self, options: PhotoOptions, about: dict[str, Any], *, model: MorphableModel | None = None) -> None:
        self._options = options
        photos, listing = list_photos(options.folder)
        people = set(options.people.split(","))
        chosen = [photo for photo in photos if people & {"all", _split(photo)}]
        self.photos: tuple[Photo, ...] = tuple(chosen[::options.every][:options.count])
        if not self.photos:
            raise DatasetError(f"{options.folder}: wanted photos of people={options.people!r}, found none",
                               code="dataset_missing")
        self._model = load_model(options.model) if model is None else model
        self._finder = FaceFinder()
        self.about: dict[str, Any] = {
            **about, "seed": options.seed, "size": options.size, "maps": sorted(options.maps), "stage": options.stage,
            "largest_residual": float(options.largest_residual), "largest_rmse": float(options.largest_rmse),
            "every": options.every, "people": options.people, "photos": listing, "model": describe_model(self._model)}

    def __len__(self) -> int:
        return len(self.photos)

    def __enter__(self) -> PhotoSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the detector."""
        self._finder.close()

    def fitted(self, index: int) -> tuple[Photo, np.ndarray, FitResult]:
        """(photo, its pixels (H, W, 3) uint8, its fit).

        Raises:
            FaceReconError: a photo that cannot be read, or see `fit_photo`.
        """
        photo = self.photos[index]
        pixels = photo.read()
        return photo, pixels, fit_photo(self._finder, self._model, pixels, self._options)


def _split(photo: Photo) -> str:
    if photo.subject is not None:
        return split_of(photo.subject)
    return "train" if split_of(photo.name) == "test" else split_of(photo.name)
