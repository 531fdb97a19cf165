"""A folder of the user's pictures: what is in it, in one order, and a fingerprint by which another folder is told apart."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from facerecon.errors import DatasetError

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")


def find_pictures(folder: str | os.PathLike[str]) -> tuple[list[Path], dict[str, Any]]:
    """Pictures at any depth, sorted by path; and how many they are, with a hash of their relative paths and sizes.

    Raises:
        DatasetError: `dataset_missing` for a folder that is not there or has no pictures.
    """
    root = Path(folder)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise DatasetError(f"{root}: wanted a folder with pictures ({' '.join(SUFFIXES)}), found none", code="dataset_missing")
    listing = [[path.relative_to(root).as_posix(), path.stat().st_size] for path in paths]
    return paths, {"count": len(paths), "sha256": hashlib.sha256(json.dumps(listing).encode()).hexdigest()}
