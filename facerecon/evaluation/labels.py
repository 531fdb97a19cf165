"""Label files of 3DDFA's test.configs: other yaw angles and re-annotated landmarks of AFLW2000-3D.

The user brings them (--labels DIR). Their rows follow the sorted names of the 2,000 images, so they fit the whole release only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facerecon.errors import ArgumentError, ModelError, PathError

AFLW_YAW = "AFLW2000-3D-new.pose.npy"
REANNOTATED = "AFLW2000-3D-Reannotated.pts68.npy"


def read_aflw_yaw(folder: str | os.PathLike[str], names: Sequence[str]) -> np.ndarray:
    """AFLW's own yaw of each image, (n,) degrees, absolute values.

    Raises:
        PathError: `path_missing`. ModelError: `model_corrupt`, `model_invalid`. ArgumentError: not the whole release.
    """
    values = np.asarray(_read(Path(folder) / AFLW_YAW, names), dtype=np.float64)
    if values.shape != (len(names),) or not np.isfinite(values).all():
        raise ModelError(f"{AFLW_YAW}: wanted ({len(names)},) finite numbers, got {values.shape}")
    return values


def read_reannotated(folder: str | os.PathLike[str], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Re-annotated landmarks (68, 2) px by name, moved from 1-based pixels to ours as the original ones are.

    The file's own origin is not documented; published figures shift neither, and neither is shifted against the other here.
    """
    values = np.asarray(_read(Path(folder) / REANNOTATED, names), dtype=np.float64)
    if values.shape != (len(names), 2, 68) or not np.isfinite(values).all():
        raise ModelError(f"{REANNOTATED}: wanted ({len(names)}, 2, 68) finite numbers, got {values.shape}")
    return {name: points.T - 1.0 for name, points in zip(names, values)}


def _read(path: Path, names: Sequence[str]) -> np.ndarray:
    if not path.is_file():
        raise PathError(f"{path}: no such file; it is in test.configs of 3DDFA", code="path_missing")
    try:
        values = np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise ModelError(f"{path}: not a plain .npy array ({error})", code="model_corrupt") from error
    if len(values) != len(names):
        raise ArgumentError(f"{path} has {len(values)} rows by the sorted names of the whole release, and the data set here has "
                            f"{len(names)} images; use the labels with the whole release only")
    return values
