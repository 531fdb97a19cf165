"""Face crops in memory: what every network here trains on.

Two layouts are read: a *crop archive*, that is a folder with `faces.jsonl` and the tar shards that its rows name, and any folder
of square face crops. An archive's row has `name` and `shard`, and where known `points68` (iBUG-68 pixels of the crop) and
`subject` (who it is; splits go by it, so that nobody is in two of them).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facerecon.checks import check_range
from facerecon.data import load_image
from facerecon.data.crop_index import read_crop_index
from facerecon.data.shards import INDEX_NAME, read_shard_tar
from facerecon.data.splits import SPLITS, split_of
from facerecon.errors import ArgumentError, DatasetError, FaceReconError

SCHEME = "ibug68"


class CropRow(NamedTuple):
    """One picture of an archive or folder: its name, the shard or file that holds it, who it shows, its points (68, 2) px or None."""

    name: str
    place: str | Path
    subject: str | None
    points: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Crops:
    """Face crops of one size.

    Attributes:
        images: (N, S, S, 3) uint8 RGB.
        names: of the crops, unique.
        subjects: who each crop shows, None where nobody said.
        points: (N, L, 2) float32 px of the crop, NaN where a crop has no landmarks.
        scheme: landmark scheme of `points`.
        sha256: hash of names, labels and pixels: what a training run records as its data.
    """

    images: np.ndarray
    names: tuple[str, ...]
    subjects: tuple[str | None, ...]
    points: np.ndarray
    scheme: str
    sha256: str

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Side of the crops in px."""
        return self.images.shape[1]

    @property
    def labelled(self) -> np.ndarray:
        """(N,) bool: which crops have landmarks, if not all of them."""
        return np.isfinite(self.points).all(2).any(1)

    def take(self, chosen: np.ndarray) -> Crops:
        """The crops at these indices (or of this (N,) mask), in their order."""
        chosen = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else np.asarray(chosen, dtype=np.int64)
        return make_crops(self.images[chosen], [self.names[i] for i in chosen], [self.subjects[i] for i in chosen],
                          self.points[chosen], scheme=self.scheme)


def make_crops(images: np.ndarray, names: list[str], subjects: list[str | None] | None = None,
               points: np.ndarray | None = None, *, scheme: str = SCHEME) -> Crops:
    """Crops from arrays; `points` default to unlabelled. Raises ArgumentError when lengths differ."""
    count = len(images)
    subjects = [None] * count if subjects is None else subjects
    points = np.full((count, 68, 2), np.nan, np.float32) if points is None else np.asarray(points, np.float32)
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.dtype != np.uint8 or images.shape[3] != 3:
        raise ArgumentError(f"images: wanted (N, S, S, 3) uint8, got {images.shape} {images.dtype}", code="shape_invalid")
    if not count == len(names) == len(subjects) == len(points):
        raise ArgumentError(f"crops: wanted as many names, subjects and points as images, got {len(names)}, {len(subjects)}, "
                            f"{len(points)} for {count}", code="shape_invalid")
    digest = hashlib.sha256("\n".join(names).encode() + np.ascontiguousarray(points).tobytes())
    digest.update(np.ascontiguousarray(images))
    return Crops(images, tuple(names), tuple(subjects), points, scheme, digest.hexdigest())


def load_crops(path: str | os.PathLike[str], *, size: int = 128, only_labelled: bool = False,
               every: int = 1) -> Crops:
    """Read a crop archive, or a folder of square face crops, resized to `size` px.

    Args:
        path: folder with `faces.jsonl` and its shards, or with images (searched recursively; no labels).
        size: side in px; areas are averaged, landmarks follow by x -> (x + 0.5) s - 0.5.
        only_labelled: leave out crops without landmarks.
        every: take every n-th row, for trials.

    Raises:
        DatasetError: `dataset_missing`, `dataset_invalid` (a row or shard that does not fit).
    """
    import cv2

    check_range("size", size, 16, 1024)
    check_range("every", every, 1)
    folder = Path(path)
    rows = crop_rows(folder)[::every]
    if (folder / INDEX_NAME).is_file() and only_labelled:
        rows = [row for row in rows if row.points is not None]
    images, names, subjects, points = [], [], [], []
    for (name, _, subject, labels), data in crop_members(folder, rows):
        try:
            pixels = load_image(data).pixels
        except FaceReconError as error:
            raise DatasetError(f"{folder}: {name}: {error}") from error
        height, width = pixels.shape[:2]
        if height != width:
            raise DatasetError(f"{folder}: {name}: wanted a square face crop, got {width} x {height}; crop the photos first")
        scale = size / width
        images.append(pixels if scale == 1 else cv2.resize(
            pixels, (size, size), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))
        points.append(np.full((68, 2), np.nan) if labels is None else (labels + 0.5) * scale - 0.5)
        names.append(name)
        subjects.append(subject)
    if not names:
        raise DatasetError(f"{folder}: wanted at least one face crop, found none", code="dataset_missing")
    return make_crops(np.stack(images), names, subjects, np.stack(points))


def join_crops(parts: Sequence[Crops]) -> Crops:
    """The crops of several sources one after the other; names that two of them have get the number of their source before them.

    Raises:
        ArgumentError: sources of different sizes or landmark schemes.
    """
    if len(parts) == 1:
        return parts[0]
    if len({(part.size, part.scheme) for part in parts}) != 1:
        raise ArgumentError(f"crops: wanted one size and landmark scheme, got {[(part.size, part.scheme) for part in parts]}",
                            code="shape_invalid")
    names = [name for part in parts for name in part.names]
    if len(set(names)) < len(names):
        names = [f"{number}/{name}" for number, part in enumerate(parts) for name in part.names]
    return make_crops(np.concatenate([part.images for part in parts]), names, [one for part in parts for one in part.subjects],
                      np.concatenate([part.points for part in parts]), scheme=parts[0].scheme)


def subject_split(crops: Crops, split: str) -> np.ndarray:
    """(N,) bool: the crops of one split. Crops of unknown people are in "train": they are in nobody's test set."""
    if split not in SPLITS:
        raise ArgumentError(f"split: wanted one of {', '.join(SPLITS)}, got {split!r}")
    return np.array([("train" if subject is None else split_of(subject)) == split for subject in crops.subjects])


def crop_rows(folder: Path) -> list[CropRow]:
    """What a crop archive or a folder of images holds, without reading a picture.

    Raises:
        DatasetError: `dataset_missing` for no folder, `dataset_invalid` for an index or a folder without images.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: wanted a folder of face crops, found none there", code="dataset_missing")
    if not (folder / INDEX_NAME).is_file():
        from facerecon.data.datasets import read_folder

        return [CropRow(sample.name, Path(sample.image), None, None) for sample in read_folder(folder)]
    return [CropRow(*row) for row in read_crop_index(folder)]


def crop_members(folder: Path, rows: list[CropRow]) -> Iterator[tuple[CropRow, bytes | Path]]:
    """The pictures of these rows, as file contents or paths: rows of one shard together, in the order in which it holds them.

    Raises:
        DatasetError: `dataset_invalid` for a shard that cannot be read or lacks a picture.
    """
    wanted: dict[str, dict[str, CropRow]] = {}
    for row in rows:
        if isinstance(row.place, Path):
            yield row, row.place
        else:
            wanted.setdefault(row.place, {})[row.name] = row
    for shard, members in wanted.items():
        for name, content in read_shard_tar(folder / shard, list(members)):
            yield members[name], content
