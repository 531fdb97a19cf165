"""Annotation files in and out: COCO keypoints JSON, CVAT for images XML, a folder of iBUG `.pts` files.

All are read into `LabelledImage`, in pixels of this package (upright photo, origin at the centre of its top-left pixel):

    format   centre of the top-left pixel   a point that is absent
    coco     (0, 0), or (0.5, 0.5) with origin "edge"   v = 0
    cvat     (0.5, 0.5)                     outside="1"
    pts      (1, 1)                         cannot be said
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from facerecon.alignment.coco import read_coco, write_coco
from facerecon.alignment.cvat import read_cvat, write_cvat
from facerecon.alignment.labels import LabelledImage
from facerecon.alignment.scheme import LandmarkScheme
from facerecon.checks import check_choice
from facerecon.errors import ArgumentError, DatasetError, LandmarkError, PathError
from facerecon.export.landmarks import read_pts, write_pts

FORMATS = ("coco", "cvat", "pts")
_SUFFIXES = {".json": "coco", ".xml": "cvat", ".pts": "pts"}
_SKIPPED = frozenset({"labels-for-cvat.json"})


def read_annotations(path: str | os.PathLike[str], scheme: LandmarkScheme, *, format: str = "auto",
                     origin: str = "centre") -> list[LabelledImage]:
    """Read what an annotation tool saved.

    Args:
        path: a file, or a folder (such as an unpacked export) that holds one file of the format, or any number of `.pts`.
        scheme: which points are wanted.
        format: "coco", "cvat", "pts", or "auto": by the suffix.
        origin: of COCO keypoints, see `facerecon.alignment.coco`.

    Returns:
        One label for each photo that has any point. A `.pts` file names its photo by its own name, without a suffix.

    Raises:
        ArgumentError: a suffix that is none of these, or a folder with several files to choose from.
        DatasetError: `annotation_corrupt`, `annotation_invalid`; `dataset_missing` when a folder holds no annotation.
        LandmarkError: `landmarks_count`, `landmarks_nonfinite`, `landmarks_invalid`. PathError: `path_missing`,
            `path_not_file`.
    """
    check_choice("format", format, ("auto", *FORMATS))
    place = Path(path)
    files = _files_in(place, format) if place.is_dir() else [place]
    kind = _SUFFIXES.get(files[0].suffix.lower()) if format == "auto" else format
    if kind is None:
        raise ArgumentError(f"{place}: wanted a file that ends in {', '.join(_SUFFIXES)}, or its format, got {place.suffix!r}")
    if kind == "coco":
        return read_coco(files[0], scheme, origin=origin)
    if kind == "cvat":
        return read_cvat(files[0], scheme)
    base = place if place.is_dir() else place.parent
    return [_read_pts(file, base, scheme) for file in files]


def write_annotations(path: str | os.PathLike[str], labels: Sequence[LabelledImage], scheme: LandmarkScheme, *, format: str,
                      origin: str = "centre") -> Path:
    """Write labels as one COCO or CVAT file, or as one `.pts` for each photo into the folder `path`; each file whole or not
    at all.

    Raises:
        ArgumentError: what the format does not take. LandmarkError: `landmarks_nonfinite` for a label with absent points,
            which a `.pts` cannot say. DatasetError: `annotation_invalid` for a photo that is there twice. PathError:
            `path_write`.
    """
    check_choice("format", format, FORMATS)
    if format == "coco":
        return write_coco(path, labels, scheme, origin=origin)
    if format == "cvat":
        return write_cvat(path, labels, scheme)
    folder = Path(path)
    goals: dict[str, LabelledImage] = {}
    # Everything is looked at before the first file is written.
    for label in labels:
        goal = str(_inside(label.image).with_suffix(".pts"))
        if goal in goals:
            raise DatasetError(f"{label.image} and {goals[goal].image} would share {goal}", code="annotation_invalid")
        if not label.present.any():
            continue
        if len(label.points) != len(scheme):
            raise ArgumentError(f"{label.image}: wanted {len(scheme)} points, got {len(label.points)}")
        if not label.present.all():
            absent = int((~label.present).sum())
            raise LandmarkError(f"{label.image}: {absent} points are absent, which a .pts file cannot say; write COCO or CVAT",
                                code="landmarks_nonfinite")
        goals[goal] = label
    for goal, label in goals.items():
        write_pts(folder / goal, label.points)
    return folder


def match_photos(labels: Iterable[LabelledImage], photos: Sequence[str], *,
                 aliases: dict[str, str] | None = None) -> dict[str, LabelledImage]:
    """Which photo each label is of.

    A tool may have dropped folders, or put its own in front; so a label belongs to the photo with which its name shares the
    longest end of whole path parts, the last part included, suffixes aside where a file (`.pts`) has none.

    Args:
        labels: as read.
        photos: names of the photos, with `/`.
        aliases: other names of photos, such as those in a task folder -> the photo's name.

    Raises:
        DatasetError: `dataset_missing` for a label whose photo is not among them; `annotation_invalid` when the name fits
            several photos, or a photo has two labels.
    """
    table: dict[tuple[str, ...], set[str]] = {}
    for name, photo in [*((photo, photo) for photo in photos), *(aliases or {}).items()]:
        parts = PurePosixPath(name).parts
        for stemmed in (parts, (*parts[:-1], PurePosixPath(parts[-1]).stem)):
            for start in range(len(stemmed)):
                table.setdefault(stemmed[start:], set()).add(photo)
    found: dict[str, LabelledImage] = {}
    for label in labels:
        parts = PurePosixPath(label.image).parts
        fits = next((table[parts[start:]] for start in range(len(parts)) if parts[start:] in table), set())
        if not fits:
            raise DatasetError(f"{label.image}: no photo of this project has that name", code="dataset_missing")
        if len(fits) > 1:
            raise DatasetError(f"{label.image}: several photos have that name: {', '.join(sorted(fits)[:3])}; name them with "
                               "their folders", code="annotation_invalid")
        (photo,) = fits
        if photo in found:
            raise DatasetError(f"{photo}: labelled twice, by {found[photo].image} and {label.image}", code="annotation_invalid")
        found[photo] = label
    return found


def _files_in(folder: Path, format: str) -> list[Path]:
    kinds: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        kind = _SUFFIXES.get(file.suffix.lower())
        if kind and file.is_file() and not file.name.startswith(".") and file.name not in _SKIPPED and format in ("auto", kind):
            kinds.setdefault(kind, []).append(file)
    if not kinds:
        raise DatasetError(f"{folder}: wanted annotations ({', '.join(_SUFFIXES)}) there, found none", code="dataset_missing")
    several = len(kinds) > 1 or any(len(files) > 1 for kind, files in kinds.items() if kind != "pts")
    if several:
        names = [str(file.relative_to(folder)) for files in kinds.values() for file in files][:4]
        raise ArgumentError(f"{folder} holds several annotation files ({', '.join(names)}); name one of them, or its format")
    return next(iter(kinds.values()))


def _read_pts(file: Path, base: Path, scheme: LandmarkScheme) -> LabelledImage:
    points = read_pts(file)
    if len(points) != len(scheme):
        raise LandmarkError(f"{file}: wanted the {len(scheme)} points of {scheme.name}, got {len(points)}",
                            code="landmarks_count")
    name = file.relative_to(base).with_suffix("").as_posix()
    return LabelledImage(name, points, np.ones(len(points), bool), None, "pts")


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise PathError(f"{name!r}: wanted a name inside the folder", code="path_invalid")
    return path
