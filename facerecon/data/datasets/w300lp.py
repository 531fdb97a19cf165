"""300W-LP: 61,225 profile-augmented views of 300-W photos and their mirror images, with fitted Basel parameters."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice
from facerecon.data.datasets.aflw2000 import parameters, read_parameters
from facerecon.data.datasets.dataset import FaceDataset, Inventory, images_below, require_folder, require_some
from facerecon.data.datasets.mat5 import read_mat
from facerecon.data.datasets.sample import PIXEL_ORIGINS, MorphableSample, to_pixel_origin
from facerecon.errors import DatasetError

RELEASE = {"AFW": 5207, "HELEN": 37676, "IBUG": 1786, "LFPW": 16556}
PARTS = {name + suffix: count for name, count in RELEASE.items() for suffix in ("", "_Flip")}
_POINTS_FOLDER = "landmarks"


def read_300w_lp(folder: str | os.PathLike[str], *, parts: tuple[str, ...] | None = None,
                 pixel_origin: str = "zero") -> FaceDataset:
    """300W-LP as it unpacks: AFW, AFW_Flip, HELEN, ... with images and .mat, and landmarks/<set>/<name>_pts.mat.

    The samples are `MorphableSample`s named "AFW/AFW_1051618982_1_0". `landmarks` (68, 2) are pts_3d, the projected model
    points, or None where the release has no _pts file (they carry no depth: use the parameters for it). `points2d` (68, 2)
    are the labels of 300-W, whose jaw follows the visible contour.

    Args:
        parts: folders to read; None reads all eight.

    Raises:
        DatasetError: `dataset_missing`, `dataset_invalid`; `annotation_corrupt` when a sample with a damaged .mat is read.
    """
    check_choice("pixel_origin", pixel_origin, PIXEL_ORIGINS)
    root = require_folder(folder, "300W-LP")
    for part in parts or ():
        check_choice("parts", part, tuple(PARTS))
    images: dict[str, Path] = {}
    counts, missing = [], []
    for part in parts or PARTS:
        if not (root / part).is_dir():
            counts.append((part, 0, PARTS[part]))
            missing.append(f"{part}/")
            continue
        found = images_below(root / part)
        marked = {path.relative_to(root / part).with_suffix("").as_posix() for path in (root / part).rglob("*.mat")}
        missing += [f"{part}/{name}.mat" for name in found if name not in marked]
        missing += [f"{part}/{name}.jpg" for name in sorted(marked - set(found))]
        kept = {f"{part}/{name}": path for name, path in found.items() if name in marked}
        missing += [f"{_POINTS_FOLDER}/{name}_pts.mat" for name in kept if not _points_path(root, name).is_file()]
        counts.append((part, len(kept), PARTS[part]))
        images.update(kept)
    names = list(images)
    require_some(names, root, "300W-LP", "AFW/, HELEN/, IBUG/, LFPW/ with images and .mat")
    inventory = Inventory("300W-LP", tuple(counts), tuple(missing))

    def load(index: int) -> MorphableSample:
        return _sample(root, names[index], images[names[index]], pixel_origin)

    return FaceDataset("300w-lp", names, load, inventory, pixel_origin=pixel_origin)


def _points_path(root: Path, name: str) -> Path:
    return root / _POINTS_FOLDER / f"{name}_pts.mat"


def _sample(root: Path, name: str, image: Path, pixel_origin: str) -> MorphableSample:
    path = root / f"{name}.mat"
    values = read_parameters(path, ("pt2d",))
    labels = _points(values["pt2d"].T, path, "pt2d")
    landmarks = None
    if _points_path(root, name).is_file():
        stored = read_mat(_points_path(root, name), names=("pts_3d",))["pts_3d"]
        landmarks = _points(stored[:, :2], _points_path(root, name), "pts_3d")
    return MorphableSample(
        name=name, image=image, scheme="ibug68", landmarks=to_pixel_origin(landmarks, "matlab1", pixel_origin),
        points2d=to_pixel_origin(labels, "matlab1", pixel_origin), pixel_origin=pixel_origin, split=name.split("/")[0],
        roi=None if "roi" not in values else values["roi"].reshape(-1).astype(np.float64), **parameters(values))


def _points(points: np.ndarray, path: Path, key: str) -> np.ndarray:
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise DatasetError(f"{path}: {key}: wanted 68 finite points, got shape {points.shape}", code="annotation_corrupt")
    return points.astype(np.float64)
