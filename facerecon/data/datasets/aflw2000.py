"""AFLW2000-3D: 2,000 faces of AFLW with fitted Basel parameters (Zhu et al., CVPR 2016)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice
from facerecon.data.datasets.dataset import IMAGE_SUFFIXES, FaceDataset, Inventory, require_folder, require_some
from facerecon.data.datasets.mat5 import read_mat
from facerecon.data.datasets.sample import PIXEL_ORIGINS, MorphableSample, to_pixel_origin
from facerecon.errors import DatasetError

RELEASE = 2000
# Euler angles beyond 99 degrees: left out of pose errors by all that report them.
EXCLUDED_ANGLE_DEG = 99.0
_LENGTHS = {"Shape_Para": 199, "Exp_Para": 29, "Tex_Para": None, "Pose_Para": 7, "Illum_Para": 10, "Color_Para": 7}
_HEIGHT = 450
_INNER = "AFLW2000"


def read_aflw2000(folder: str | os.PathLike[str], *, pixel_origin: str = "zero") -> FaceDataset:
    """AFLW2000-3D as it unpacks: imageNNNNN.jpg with imageNNNNN.mat beside it, sorted by name (the order of every published
    list of results). The folder may be the one that holds them or the one above (AFLW2000/).

    The samples are `MorphableSample`s: `landmarks` (68, 3) are pt3d_68 (the depth is left as stored), `points2d` AFLW's own 21
    points, `attributes["pose_excluded"]` whether an angle lies outside +-99 degrees. No list of visibility is in the release.

    Raises:
        DatasetError: `dataset_missing`, `dataset_invalid`; `annotation_corrupt` when a sample with a damaged .mat is read.
    """
    check_choice("pixel_origin", pixel_origin, PIXEL_ORIGINS)
    root = require_folder(folder, "AFLW2000-3D")
    root = root / _INNER if (root / _INNER).is_dir() else root
    # The folder Code of the release holds other .mat files.
    images = {path.stem: path for path in sorted(root.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()}
    marked = {path.stem for path in root.glob("*.mat")}
    names = [name for name in images if name in marked]
    require_some(names, root, "AFLW2000-3D", "imageNNNNN.jpg with imageNNNNN.mat")
    missing = [f"{name}.mat" for name in images if name not in marked] + [f"{name}.jpg" for name in sorted(marked - set(images))]
    inventory = Inventory("AFLW2000-3D", (("images with parameters", len(names), RELEASE),), tuple(missing))

    def load(index: int) -> MorphableSample:
        return _sample(names[index], images[names[index]], root / f"{names[index]}.mat", pixel_origin)

    return FaceDataset("aflw2000", names, load, inventory, pixel_origin=pixel_origin)


def _sample(name: str, image: Path, path: Path, pixel_origin: str) -> MorphableSample:
    values = read_parameters(path, ("pt3d_68",))
    landmarks = values["pt3d_68"]
    if landmarks.shape != (3, 68) or not np.isfinite(landmarks).all():
        raise DatasetError(f"{path}: pt3d_68: wanted finite (3, 68), got {landmarks.shape}", code="annotation_corrupt")
    angles = np.degrees(values["Pose_Para"][:3])
    return MorphableSample(
        name=name, image=image, scheme="ibug68", landmarks=to_pixel_origin(landmarks.T, "matlab1", pixel_origin),
        pixel_origin=pixel_origin, attributes={"pose_excluded": bool((np.abs(angles) > EXCLUDED_ANGLE_DEG).any())},
        points2d=to_pixel_origin(_visible_points(values.get("pt2d"), path), "matlab1", pixel_origin),
        roi=None if "roi" not in values else values["roi"].reshape(-1).astype(np.float64), **parameters(values))


def read_parameters(path: Path, more: tuple[str, ...] = ()) -> dict:
    """The variables of a .mat of 300W-LP or AFLW2000-3D, parameters flattened and checked.

    Raises:
        DatasetError: `annotation_corrupt`.
    """
    values = read_mat(path)
    for key in (*_LENGTHS, *more):
        if not isinstance(values.get(key), np.ndarray):
            raise DatasetError(f"{path}: {key} is missing; copy the file again", code="annotation_corrupt")
        values[key] = values[key].astype(np.float64)
    for key, length in _LENGTHS.items():
        values[key] = values[key].reshape(-1)
        if length not in (None, len(values[key])) or not np.isfinite(values[key]).all():
            raise DatasetError(f"{path}: {key}: wanted {length} finite numbers, got {len(values[key])}", code="annotation_corrupt")
    return values


def parameters(values: dict) -> dict:
    """Keyword arguments of `MorphableSample` from the parameters of `read_parameters`."""
    return {**{key.lower(): values[key] for key in _LENGTHS}, "image_height": _HEIGHT}


def _visible_points(points: object, path: Path) -> np.ndarray | None:
    if points is None:
        return None
    if not isinstance(points, np.ndarray) or points.ndim != 2 or points.shape[0] != 2:
        raise DatasetError(f"{path}: pt2d: wanted (2, N)", code="annotation_corrupt")
    points = points.T.astype(np.float64)
    # A hidden point is stored as x = -1 and flipped with the others.
    points[points[:, 0] == -1] = np.nan
    return points
