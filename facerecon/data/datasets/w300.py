"""300-W (Sagonas et al., ICCVW 2013): 68 points on photos of AFW, HELEN, LFPW and iBUG."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice
from facerecon.data.datasets.dataset import (
    FaceDataset, Inventory, images_below, numbers, read_lines, require_folder, require_some,
)
from facerecon.data.datasets.sample import PIXEL_ORIGINS, FaceSample, to_pixel_origin
from facerecon.errors import DatasetError

# Folder of the release -> number of faces. Helen and LFPW are divided, iBUG is for testing only.
PARTS = {"afw": 337, "helen/trainset": 2000, "lfpw/trainset": 811, "helen/testset": 330, "lfpw/testset": 224, "ibug": 135}
SPLITS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenging": ("ibug",),
    "full": ("helen/testset", "lfpw/testset", "ibug"),
}
_POINTS = 68
_LARGEST_PTS = 1 << 16


def read_300w(folder: str | os.PathLike[str], *, split: str = "full", pixel_origin: str = "zero") -> FaceDataset:
    """300-W as its archives unpack into one folder: afw/, helen/trainset, helen/testset, lfpw/trainset, lfpw/testset, ibug/,
    images with .pts beside them (upper or lower case; one more folder between is accepted).

    Args:
        split: "train" (3,148 faces), "common" (554), "challenging" (135), "full" (689).

    Raises:
        DatasetError: `dataset_missing`, `dataset_invalid`; `annotation_corrupt` when a sample with a damaged .pts is read.
    """
    check_choice("split", split, tuple(SPLITS))
    check_choice("pixel_origin", pixel_origin, PIXEL_ORIGINS)
    root = require_folder(folder, "300-W")
    paths: dict[str, Path] = {}
    counts, missing = [], []
    for part in SPLITS[split]:
        place = _folder_of(root, part)
        if place is None:
            counts.append((part, 0, PARTS[part]))
            missing.append(f"{part}/")
            continue
        found = images_below(place)
        marked = {path.relative_to(place).with_suffix("").as_posix() for path in place.rglob("*.pts")}
        missing += [f"{part}/{name}.pts" for name in found if name not in marked]
        missing += [f"{part}/{name} (image)" for name in sorted(marked - set(found))]
        kept = {f"{part}/{name}": path for name, path in found.items() if name in marked}
        counts.append((part, len(kept), PARTS[part]))
        paths.update(kept)
    names = list(paths)
    require_some(names, root, "300-W", "afw/, helen/testset/, ... with images and .pts")
    inventory = Inventory("300-W", tuple(counts), tuple(missing))

    def load(index: int) -> FaceSample:
        path = paths[names[index]]
        points = read_points(path.with_suffix(".pts"))
        if len(points) != _POINTS:
            raise DatasetError(f"{path.with_suffix('.pts')}: wanted {_POINTS} points, got {len(points)}", code="annotation_corrupt")
        part = next(part for part in SPLITS[split] if names[index].startswith(part + "/"))
        return FaceSample(name=names[index], image=path, scheme="ibug68", pixel_origin=pixel_origin, split=part,
                          landmarks=to_pixel_origin(points, "matlab1", pixel_origin))

    return FaceDataset("300w", names, load, inventory, pixel_origin=pixel_origin, split=split)


def read_points(path: Path) -> np.ndarray:
    """A .pts file of iBUG as (N, 2) float64, as stored: the centre of the top-left pixel is (1, 1).

    Raises:
        DatasetError: `annotation_corrupt`.
    """
    lines = [line.strip() for line in read_lines(path, "300-W", max_bytes=_LARGEST_PTS)]
    try:
        start, end = lines.index("{"), lines.index("}")
        declared = next(int(line.split(":")[1]) for line in lines[:start] if line.startswith("n_points"))
    except (ValueError, StopIteration, IndexError) as error:
        raise DatasetError(f"{path}: wanted n_points, {{, points, }}", code="annotation_corrupt") from error
    rows = [numbers(line.split(), path, number) for number, line in enumerate(lines[start + 1:end], start=start + 2) if line]
    if len(rows) != declared or any(len(row) != 2 for row in rows):
        raise DatasetError(f"{path}: wanted {declared} points with x and y, got {len(rows)} lines", code="annotation_corrupt")
    return np.array(rows).reshape(-1, 2)


def _folder_of(root: Path, part: str) -> Path | None:
    """`root / part` without regard to case, also one folder further down (the archives' own top folder)."""
    for base in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        place: Path | None = base
        for step in part.split("/"):
            place = next((child for child in sorted(place.iterdir()) if child.is_dir() and child.name.lower() == step), None)
            if place is None:
                break
        if place is not None:
            return place
    return None
