"""Face profiling of whole folders: find, fit, turn; photos that cannot be used are named and left out."""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from facerecon.checks import check_range
from facerecon.errors import FaceReconError
from facerecon.morphable import MorphableModel
from facerecon.synthesis.photo_source import PhotoOptions, PhotoSource
from facerecon.synthesis.profile import YAW_LIMIT_DEG, larger_yaws, profile_views
from facerecon.synthesis.sample import SyntheticFace
from facerecon.synthesis.source import check_whole

# Counts changes of the pictures that a photo gives: archives of different generators are not mixed.
GENERATOR = 1


@dataclasses.dataclass(frozen=True)
class Refused:
    """A photo that gave no face: its name, a stable code (of a `FaceReconError`), and why."""

    name: str
    code: str
    message: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileOptions(PhotoOptions):
    """What is turned, and how far; see `PhotoOptions`.

    Attributes:
        step_deg: yaws are multiples of this, beyond the photo's own.
        limit_deg: largest yaw to either side.
        views: at most so many views of a photo, drawn with the seed and its name; None: all.
    """

    step_deg: float = 15.0
    limit_deg: float = YAW_LIMIT_DEG
    views: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        larger_yaws(0.0, step_deg=self.step_deg, limit_deg=self.limit_deg)
        check_whole("views", 1 if self.views is None else self.views, 1)

    def open(self) -> ProfileSource:
        """List the photos and load what turning needs; a `FaceSource`."""
        return ProfileSource(self)


class ProfileSource(PhotoSource):
    """Photos as a source of faces at larger yaws; see `facerecon.synthesis.source.FaceSource`.

    Item i is photo i and gives one face per yaw, none where the photo already looks to the limit. All views of a photo have its
    subject, or the photo's own name where nobody said who it is, so that a split keeps them together.
    """

    def __init__(self, options: ProfileOptions, *, model: MorphableModel | None = None) -> None:
        super().__init__(options, {"source": "profile", "generator": GENERATOR, "step_deg": float(options.step_deg),
                                   "limit_deg": float(options.limit_deg), "views": options.views}, model=model)

    def make(self, index: int, *, yaws_deg: Sequence[float] | None = None) -> list[SyntheticFace]:
        """The views of photo `index`: bit-equal for equal options, whatever else is made.

        Args:
            index: of `photos`.
            yaws_deg: to turn to, in place of the options' steps.

        Raises:
            FaceReconError: see `PhotoSource.fitted`.
        """
        options = self._options
        photo, pixels, fit = self.fitted(index)
        if yaws_deg is None:
            yaw = fit.parameters.pose.to_dict()["euler_deg"]["yaw"]
            yaws_deg = larger_yaws(yaw, step_deg=options.step_deg, limit_deg=options.limit_deg)
            if options.views is not None and len(yaws_deg) > options.views:
                generator = np.random.default_rng([options.seed, zlib.crc32(photo.name.encode())])
                yaws_deg = [yaws_deg[i] for i in np.sort(generator.permutation(len(yaws_deg))[:options.views])]
        if not len(yaws_deg):
            return []
        faces = profile_views(self._model, pixels, fit.parameters, yaws_deg=yaws_deg, size=options.size, seed=options.seed,
                              name=photo.name, subject=photo.subject or photo.name, maps=options.maps)
        return [dataclasses.replace(face, colours_known=fit.photometric_rmse is not None) for face in faces]


def profile_folder(folder: str | os.PathLike[str], *, model: str | MorphableModel = "open",
                   yaws_deg: Sequence[float] | None = None, **options: object) -> Iterator[SyntheticFace | Refused]:
    """Every photo of a folder or crop archive, turned to larger yaws.

    Args:
        folder: photos (searched recursively), or a crop archive (`faces.jsonl` and tar shards).
        model: "open", the path of a .facemodel, or a loaded model.
        yaws_deg: to turn each photo to; None: steps of 15 degrees beyond its own yaw, see `larger_yaws`.
        options: others of `ProfileOptions`.

    Yields:
        The faces of each photo in turn, or a `Refused` in the place of a photo that cannot be used. It never stops the folder.

    Raises:
        DatasetError: see `list_photos`. ArgumentError, ModelError: before the first photo is read.
    """
    loaded = model if isinstance(model, MorphableModel) else None
    chosen = ProfileOptions(folder=folder, model="open" if loaded is not None else model, **options)
    for yaw in () if yaws_deg is None else yaws_deg:
        check_range("yaws_deg", float(yaw), -YAW_LIMIT_DEG, YAW_LIMIT_DEG)
    return _each(ProfileSource(chosen, model=loaded), yaws_deg)


def _each(source: ProfileSource, yaws_deg: Sequence[float] | None) -> Iterator[SyntheticFace | Refused]:
    with source:
        for index, photo in enumerate(source.photos):
            try:
                yield from source.make(index, yaws_deg=yaws_deg)
            except FaceReconError as error:
                yield Refused(photo.name, error.code, error.message)
