"""The photos of a folder, or the crops of an archive, to be read one at a time in any order."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.data import load_image
from facerecon.data.crop_index import read_crop_index
from facerecon.data.shards import INDEX_NAME
from facerecon.errors import DatasetError
from facerecon.files import safe_stem
from facerecon.synthesis.pictures import find_pictures


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photo, not yet read.

    Attributes:
        name: unique in its folder, short, fit for a file, without a suffix.
        subject: who it shows, None where nobody said.
        path: of the image, or of the tar that holds it.
        place: offset and length in the tar; None for a file of its own.
    """

    name: str
    subject: str | None
    path: Path
    place: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Bytes of the image."""
        return self.path.stat().st_size if self.place is None else self.place[1]

    def read(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright.

        Raises:
            PathError, ImageError: see `load_image`.
        """
        if self.place is None:
            return load_image(self.path).pixels
        offset, length = self.place
        with open(self.path, "rb") as stream:
            stream.seek(offset)
            return load_image(stream.read(length)).pixels


def list_photos(folder: str | os.PathLike[str]) -> tuple[list[Photo], dict[str, Any]]:
    """The photos below a folder, sorted by path; of a crop archive (`faces.jsonl` and tar shards), in the order of its index.

    Returns:
        (photos, how many they are and a hash by which another folder is told apart).

    Raises:
        DatasetError: `dataset_missing` without a folder or photos in it, `dataset_invalid` for a damaged archive.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DatasetError(f"{root}: wanted a folder of photos or a crop archive, found none there", code="dataset_missing")
    if not (root / INDEX_NAME).is_file():
        paths, listing = find_pictures(root)
        # Subfolders may hold several pictures of one name.
        return [Photo(f"{index:06d}_{_stem(path.name)}", None, path) for index, path in enumerate(paths)], listing
    photos = _archive(root)
    listed = [[photo.name, photo.subject, photo.size] for photo in photos]
    return photos, {"count": len(photos), "sha256": hashlib.sha256(json.dumps(listed).encode()).hexdigest()}


def _stem(name: str) -> str:
    return safe_stem(Path(name).stem, longest=60)


def _archive(root: Path) -> list[Photo]:
    rows = [row[:3] for row in read_crop_index(root)]
    places = {shard: _places(root / shard) for shard in dict.fromkeys(shard for _, shard, _ in rows)}
    photos = []
    for name, shard, subject in rows:
        if name not in places[shard]:
            raise DatasetError(f"{root / shard}: {name} of the index is not in it; make or copy the shard again")
        photos.append(Photo(_stem(name), subject, root / shard, places[shard][name]))
    if not photos or len({photo.name for photo in photos}) < len(photos):
        raise DatasetError(f"{root / INDEX_NAME}: wanted crops with a different name for each, got none, or one twice")
    return photos


def _places(shard: Path) -> dict[str, tuple[int, int]]:
    """Offset and length of each file in a plain tar; only headers are read."""
    try:
        with tarfile.open(shard, mode="r:") as archive:
            return {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}
    except (OSError, tarfile.TarError) as error:
        raise DatasetError(f"{shard}: wanted a tar shard, it cannot be read ({error}); make or copy it again") from error
