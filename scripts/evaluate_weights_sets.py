"""The test sets of `evaluate_weights`: held-out real crops, photos turned aside, AFLW2000-3D."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facerecon.data.datasets import read_aflw2000
from facerecon.data.splits import split_of
from facerecon.errors import DatasetError, FaceReconError
from facerecon.evaluation.truth import FaceTruth, truth_from_sample
from facerecon.synthesis import read_archive
from facerecon.synthesis.profile_photos import Photo, list_photos
from facerecon.training.crops import crop_rows

REAL, PROFILED, AFLW = "real", "profiled", "aflw"


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """One face whose 68 points are known.

    Attributes:
        name: unique in its set. subject: who it shows; resampling goes by it.
        photo: where the picture is.
        points: (68, 2) float64 px of the photo.
        euler: (3,) pitch, yaw, roll in degrees as AFLW2000-3D has them, or None where nobody knows.
        truth: what the evaluator of AFLW2000-3D wants, None for other sets.
    """

    name: str
    subject: str
    photo: Photo
    points: np.ndarray
    euler: np.ndarray | None = None
    truth: FaceTruth | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class FaceSet:
    """A test set: its key and title, a hash of what its folder lists, its faces, and what readers of figures must know."""

    key: str
    title: str
    source: str
    faces: tuple[Face, ...]
    notes: tuple[str, ...] = ()


def open_sets(*, faces: Path | None, profiled: Path | None, aflw: Path | None, every: int = 1, limit: int = 0) -> list[FaceSet]:
    """The sets whose folders are given; of each every n-th face, and of those the first `limit` (0: all).

    Raises:
        DatasetError: a folder that cannot be read, or holds nobody of the test split.
    """
    readers = ((faces, real_crops), (profiled, turned_photos), (aflw, aflw2000))
    found = [reader(folder) for folder, reader in readers if folder is not None]
    return [dataclasses.replace(one, faces=one.faces[::every][:limit or None]) for one in found]


def real_crops(folder: Path) -> FaceSet:
    """The labelled crops of the test subjects of a crop archive, in the order of its index."""
    rows = crop_rows(folder)
    photos, listing = list_photos(folder)
    # Both read one index, line by line.
    found = [Face(photo.name, row.subject, photo, row.points) for row, photo in zip(rows, photos, strict=True)
             if row.points is not None and _is_test(row.subject)]
    return FaceSet(REAL, "Held-out real crops", _digest(listing, found), _checked(folder, found, "labelled crops"), (
        "Each crop is given as a whole photo. Its labels are machine-made 2D points whose jaw follows the visible outline, so "
        "that the 51 inner points say more than all 68 where heads turn. Yaw is not known: it is that of a fit of the open "
        "model to the labels themselves (`fit_landmarks(scheme=\"ibug68\")`), and decides the bin only.",))


def turned_photos(folder: Path) -> FaceSet:
    """The test subjects of an archive of `facerecon synthesise --profile`; points and angles are the model's."""
    archive = read_archive(folder, images=False)
    photos, listing = list_photos(folder)
    found = [Face(photo.name, subject, photo, points.astype(np.float64), euler.astype(np.float64))
             for photo, subject, points, euler in zip(photos, archive.subjects, archive.truth["points68"],
                                                      archive.truth["euler_deg"], strict=True) if _is_test(subject)]
    return FaceSet(PROFILED, "Profiled test set", _digest(listing, found), _checked(folder, found, "pictures"), (
        "Photos of test subjects, turned to larger yaw; points and angles are those of the turned model, as good as the fit of "
        "the photo that was turned.",))


def aflw2000(folder: Path) -> FaceSet:
    """AFLW2000-3D, or some of its images; an image whose annotation cannot be read is named in the notes and left out."""
    samples, found, unread = read_aflw2000(folder), [], []
    for index, name in enumerate(samples.names):
        try:
            sample = samples[index]
            truth = truth_from_sample(sample)
        except FaceReconError as error:
            unread.append(f"{name} ({error.code})")
            continue
        photo = Photo(name, None, Path(sample.image))
        found.append(Face(name, name, photo, truth.landmarks68[:, :2], truth.euler_deg, truth))
    notes = (f"No readable annotation: {', '.join(unread)}.",) if unread else ()
    listing = {"names": list(samples.names)}
    return FaceSet(AFLW, "AFLW2000-3D", _digest(listing, found), _checked(folder, found, "images", of=""), (
        f"{len(found)} images; points pt3d_68, hidden ones included.", *notes))


def _is_test(subject: str | None) -> bool:
    return subject is not None and split_of(subject) == "test"


def _checked(folder: Path, found: Sequence[Face], what: str, *, of: str = " of test subjects") -> tuple[Face, ...]:
    if not found:
        raise DatasetError(f"{folder}: wanted {what}{of}, found none", code="dataset_missing")
    return tuple(found)


def _digest(listing: object, found: Sequence[Face]) -> str:
    digest = hashlib.sha256(json.dumps(listing, sort_keys=True).encode())
    for face in found:
        digest.update(np.round(face.points, 3).tobytes())
    return digest.hexdigest()
