"""Face profiling of whole folders: find, fit, turn; photos that cannot be used are named and left out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from facerecon.checks import check_choice, check_range
from facerecon.detection import FaceFinder
from facerecon.detection.selection import choose_faces
from facerecon.errors import FaceError, FaceReconError, FitError
from facerecon.fitting import FitResult, fit_landmarks, refine_photometric
from facerecon.morphable import MorphableModel, load_model
from facerecon.morphable.schemes import IBUG68_TO_MEDIAPIPE478
from facerecon.synthesis.archive import describe_model
from facerecon.synthesis.profile import YAW_LIMIT_DEG, larger_yaws, profile_views
from facerecon.synthesis.profile_photos import Photo, list_photos
from facerecon.synthesis.sample import MAPS, SyntheticFace
from facerecon.synthesis.source import SIZES, check_whole

# Counts changes of the pictures that a photo gives: archives of different generators are not mixed.
GENERATOR = 1
# A fit is used where its mean landmark distance is below this, percent; beyond, the surface slides under the photo.
LARGEST_RESIDUAL = 2.5


@dataclasses.dataclass(frozen=True)
class Refused:
    """A photo that gave no face: its name, a stable code (of a `FaceReconError`), and why."""

    name: str
    code: str
    message: str


def fit_photo(finder: FaceFinder, model: MorphableModel, pixels: np.ndarray, *, refine: bool = True) -> FitResult:
    """Fit the largest face of a photo, if its landmarks can carry a turn.

    Args:
        finder: of faces and their 478 landmarks.
        model: the face model.
        pixels: (H, W, 3) uint8 RGB, upright.
        refine: after the landmarks, fit albedo, light and shape to the colours; half a second to a second more.

    Raises:
        FaceError: `no_face` (also without dense landmarks), `face_too_small`, `pose_out_of_range`.
        FitError: `fit_failed` where the model does not follow the landmarks. LandmarkError: see `fit_landmarks`.
    """
    face = choose_faces(finder, pixels, limit=1)[0]
    if face.points478 is None:
        raise FaceError("the face has no dense landmarks, which a turn wants; give a sharper or freer face", code="no_face")
    dense = "mediapipe478" in model.embeddings
    points = face.points478 if dense else face.points478[list(IBUG68_TO_MEDIAPIPE478)]
    fit = fit_landmarks(model, points, scheme="mediapipe478" if dense else "ibug68")
    if fit.landmark_nme_percent > LARGEST_RESIDUAL or "poor_fit" in fit.flags:
        raise FitError(f"wanted a fit within {LARGEST_RESIDUAL} % of the landmarks, got {fit.landmark_nme_percent:.2f} %; "
                       "give a sharper or freer face", code="fit_failed")
    if "pose_out_of_range" in fit.flags:
        raise FaceError("the head looks too far away from the camera to be turned further", code="pose_out_of_range")
    return refine_photometric(model, pixels, fit) if refine else fit


@dataclasses.dataclass(frozen=True)
class ProfileOptions:
    """What is turned, and how far.

    Attributes:
        folder: of photos, or a crop archive.
        count: most photos; None: all.
        seed: of the crops.
        size: side of the pictures, px.
        model: "open" or the path of a .facemodel.
        maps: of "pncc", "depth", "normals".
        step_deg: yaws are multiples of this, beyond the photo's own.
        limit_deg: largest yaw to either side.
        refine: fit albedo and light to the photo, see `fit_photo`.
        every: take every n-th photo, for trials.
    """

    folder: str | os.PathLike[str]
    count: int | None = None
    seed: int = 0
    size: int = 192
    model: str = "open"
    maps: tuple[str, ...] = ("pncc",)
    step_deg: float = 15.0
    limit_deg: float = YAW_LIMIT_DEG
    refine: bool = True
    every: int = 1

    def __post_init__(self) -> None:
        larger_yaws(0.0, step_deg=self.step_deg, limit_deg=self.limit_deg)
        for name, value, limits in (("seed", self.seed, (0,)), ("size", self.size, SIZES), ("every", self.every, (1,)),
                                    ("count", 1 if self.count is None else self.count, (1,))):
            check_whole(name, value, *limits)
        for name in self.maps:
            check_choice("maps", name, MAPS)

    def open(self) -> ProfileSource:
        """List the photos and load what turning needs; a `FaceSource`."""
        return ProfileSource(self)


class ProfileSource:
    """Photos as a source of faces at larger yaws; see `facerecon.synthesis.source.FaceSource`.

    Item i is photo i and gives one face per yaw, none where the photo already looks to the limit. All views of a photo have its
    subject, or the photo's own name where nobody said who it is, so that a split keeps them together.
    """

    def __init__(self, options: ProfileOptions, *, model: MorphableModel | None = None) -> None:
        self._options = options
        photos, listing = list_photos(options.folder)
        self.photos: tuple[Photo, ...] = tuple(photos[::options.every][:options.count])
        self._model = load_model(options.model) if model is None else model
        self._finder = FaceFinder()
        self.about: dict[str, Any] = {
            "source": "profile", "generator": GENERATOR, "seed": options.seed, "size": options.size,
            "maps": sorted(options.maps), "step_deg": float(options.step_deg), "limit_deg": float(options.limit_deg),
            "refine": options.refine, "every": options.every, "photos": listing, "model": describe_model(self._model)}

    def __len__(self) -> int:
        return len(self.photos)

    def __enter__(self) -> ProfileSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the detector."""
        self._finder.close()

    def make(self, index: int, *, yaws_deg: Sequence[float] | None = None) -> list[SyntheticFace]:
        """The views of photo `index`: bit-equal for equal options, whatever else is made.

        Args:
            index: of `photos`.
            yaws_deg: to turn to, in place of the options' steps.

        Raises:
            FaceReconError: a photo that cannot be read, or see `fit_photo`.
        """
        photo, options = self.photos[index], self._options
        pixels = photo.read()
        fit = fit_photo(self._finder, self._model, pixels, refine=options.refine)
        if yaws_deg is None:
            yaw = fit.parameters.pose.to_dict()["euler_deg"]["yaw"]
            yaws_deg = larger_yaws(yaw, step_deg=options.step_deg, limit_deg=options.limit_deg)
        if not len(yaws_deg):
            return []
        return profile_views(self._model, pixels, fit.parameters, yaws_deg=yaws_deg, size=options.size, seed=options.seed,
                             name=photo.name, subject=photo.subject or photo.name, maps=options.maps)


def profile_folder(folder: str | os.PathLike[str], *, model: str | MorphableModel = "open",
                   yaws_deg: Sequence[float] | None = None, size: int = 192, seed: int = 0, maps: Sequence[str] = ("pncc",),
                   refine: bool = True, every: int = 1) -> Iterator[SyntheticFace | Refused]:
    """Every photo of a folder or crop archive, turned to larger yaws.

    Args:
        folder: photos (searched recursively), or a crop archive (`faces.jsonl` and tar shards).
        model: "open", the path of a .facemodel, or a loaded model.
        yaws_deg: to turn each photo to; None: steps of 15 degrees beyond its own yaw, see `larger_yaws`.
        size, seed, maps: see `profile_views`.
        refine: see `fit_photo`.
        every: take every n-th photo.

    Yields:
        The faces of each photo in turn, or a `Refused` in the place of a photo that cannot be used. It never stops the folder.

    Raises:
        DatasetError: see `list_photos`. ArgumentError, ModelError: before the first photo is read.
    """
    loaded = model if isinstance(model, MorphableModel) else None
    options = ProfileOptions(folder, seed=seed, size=size, model="open" if loaded is not None else model, maps=tuple(maps),
                             refine=refine, every=every)
    for yaw in () if yaws_deg is None else yaws_deg:
        check_range("yaws_deg", float(yaw), -YAW_LIMIT_DEG, YAW_LIMIT_DEG)
    return _each(ProfileSource(options, model=loaded), yaws_deg)


def _each(source: ProfileSource, yaws_deg: Sequence[float] | None) -> Iterator[SyntheticFace | Refused]:
    with source:
        for index, photo in enumerate(source.photos):
            try:
                yield from source.make(index, yaws_deg=yaws_deg)
            except FaceReconError as error:
                yield Refused(photo.name, error.code, error.message)
