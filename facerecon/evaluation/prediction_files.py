"""Predictions made elsewhere: one file for all images, in the format of docs/evaluation.md.

    predictions.safetensors    tensors, images along the first axis, read one image at a time:
                                 landmarks68 (n, 68, 2 or 3)   needed unless `vertices` are Basel's 53,215
                                 vertices (n, V, 3)            optional; V by the topology
                                 rotation (n, 3, 3)            optional
                                 found (n,)                    optional; 0 for an image without a result
                               metadata "facerecon": a JSON object with
                                 method         a name for the tables
                                 names          the images' names; may be left out when n is the whole data set, sorted
                                 topology       "bfm53215", "bfm38365", "bfm35709", "open-head"; needed with vertices
                                 pixel_origin   "zero" or "matlab1"
                                 depth          "away" (from the camera, growing) or "toward"
                                 rotation       "camera" (x right, y down, z forward) or "zhu" (x right, y up, z toward the viewer)
    predictions.npy            landmarks (n, 68, 2 or 3) or Basel vertices (n, 53215, 3) of the whole data set, sorted
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from facerecon.checks import check_choice
from facerecon.errors import FaceError, FaceReconError, ModelError, PathError
from facerecon.evaluation.prediction import TOPOLOGIES, Prediction
from facerecon.evaluation.predictions import PredictionStore
from facerecon.evaluation.truth import PIXEL_ORIGINS, shift_origin
from facerecon.metrics.pose import CAMERA_FLIP

DEPTHS = ("away", "toward")
ROTATIONS = ("camera", "zhu")
METADATA_KEY = "facerecon"
LARGEST_HEADER = 64 << 20


class PredictionSource(Protocol):
    """What scoring reads: names in the data set's order, a configuration, one prediction at a time."""

    names: tuple[str, ...]
    config: dict

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Prediction: ...

    def state(self) -> str: ...


def open_predictions(path: str | os.PathLike[str], *, names: Sequence[str], pixel_origin: str | None = None,
                     depth: str | None = None) -> PredictionSource:
    """Open a folder of `facerecon evaluate`, or a file of the formats above.

    Args:
        names: the data set's images in order; a file with other or fewer images is refused.
        pixel_origin, depth: say what a file does not say itself ("zero" and "away" otherwise).

    Raises:
        PathError: `path_missing`. ModelError: `unsafe_format` for a pickle or archive, `model_corrupt` for a damaged file,
            `model_invalid` when it is whole but not of this format or these images.
    """
    path = Path(path)
    if path.is_dir():
        store = PredictionStore.open(path)
        if store.names != tuple(names):
            raise ModelError(f"{path}: predictions of {len(store)} images, where the data set holds {len(names)} or others; "
                             f"predict again")
        return store
    if not path.is_file():
        raise PathError(f"{path}: no such predictions", code="path_missing")
    with open(path, "rb") as stream:
        start = stream.read(10)
    if start[:6] == b"\x93NUMPY":
        return _file_of_array(path, names, pixel_origin, depth)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= min(LARGEST_HEADER, path.stat().st_size):
        return _file_of_tensors(path, names, pixel_origin, depth)
    raise ModelError(f"{path}: wanted a .safetensors or .npy file; pickles, .npz and .mat are not opened (docs/evaluation.md shows "
                     f"how to write one)", code="unsafe_format")


class PredictionFile:
    """Arrays over all images, read row by row."""

    def __init__(self, path: Path, rows, names: Sequence[str], about: dict) -> None:
        self.path, self.names, self._rows = path, tuple(names), rows
        self._origin, self._depth, self._rotation = about["pixel_origin"], about["depth"], about["rotation"]
        landmarks, vertices = rows.shape("landmarks68"), rows.shape("vertices")
        self.config = {"method": about["method"], "model": None, "crop_from": about["crop_from"],
                       "topology": about["topology"] if vertices else None,
                       "landmark_depth": bool(vertices) or landmarks[2] == 3, "file": path.name}

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Prediction:
        name = self.names[index]
        found = self._rows.get("found", index)
        if found is not None and not found:
            return Prediction.miss(name, FaceError("the file says that no face was found"))
        vertices = self._points(self._rows.get("vertices", index))
        landmarks = self._points(self._rows.get("landmarks68", index))
        if landmarks is None:
            from facerecon.morphable.basel.common import KEYPOINTS

            landmarks = vertices[KEYPOINTS]
        rotation = self._rows.get("rotation", index)
        if rotation is not None and self._rotation == "zhu":
            rotation = CAMERA_FLIP[:, None] * rotation
        try:
            return Prediction(name=name, landmarks68=landmarks, vertices=vertices, rotation=rotation)
        except FaceReconError as error:
            # One bad row is one failed image, never a stopped table.
            return Prediction.miss(name, error, status="failed")

    def state(self) -> str:
        """SHA-256 over path, size, time and configuration."""
        found = self.path.stat()
        content = [str(self.path.resolve()), found.st_size, found.st_mtime_ns, self.config, self._origin, self._depth]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _points(self, points: np.ndarray | None) -> np.ndarray | None:
        if points is None:
            return None
        points = np.asarray(points, dtype=np.float64)
        if points.shape[1] == 2:
            points = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
        if self._depth == "toward":
            points = points * [1, 1, -1]
        return shift_origin(points, source=self._origin, target="zero")


class _Tensors:
    def __init__(self, path: Path) -> None:
        import safetensors

        self._file = safetensors.safe_open(str(path), framework="np")
        self._slices = {name: self._file.get_slice(name) for name in self._file.keys()}
        self.metadata = self._file.metadata() or {}

    def shape(self, name: str) -> tuple[int, ...] | None:
        return tuple(self._slices[name].get_shape()) if name in self._slices else None

    def get(self, name: str, index: int) -> np.ndarray | None:
        return self._slices[name][index:index + 1][0] if name in self._slices else None


class _Array:
    def __init__(self, name: str, values: np.ndarray) -> None:
        self._name, self._values = name, values

    def shape(self, name: str) -> tuple[int, ...] | None:
        return self._values.shape if name == self._name else None

    def get(self, name: str, index: int) -> np.ndarray | None:
        return np.array(self._values[index]) if name == self._name else None


def _file_of_tensors(path: Path, names: Sequence[str], origin: str | None, depth: str | None) -> PredictionFile:
    import safetensors

    try:
        rows = _Tensors(path)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise ModelError(f"{path}: the tensors cannot be read ({error})", code="model_corrupt") from error
    try:
        about = json.loads(rows.metadata.get(METADATA_KEY, "{}"))
        about = {"method": path.stem, "topology": None, "rotation": "camera", "crop_from": None, "names": None,
                 "pixel_origin": origin or "zero", "depth": depth or "away", **about}
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: metadata {METADATA_KEY!r}: wanted a JSON object ({error})") from error
    for key, given in (("pixel_origin", origin), ("depth", depth)):
        if given is not None and about[key] != given:
            raise ModelError(f"{path}: the file says {key}={about[key]}, the command {given}; drop one of them")
    return _checked_file(path, rows, names, about)


def _file_of_array(path: Path, names: Sequence[str], origin: str | None, depth: str | None) -> PredictionFile:
    try:
        values = np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        code = "unsafe_format" if "pickle" in str(error).lower() or "object" in str(error).lower() else "model_corrupt"
        raise ModelError(f"{path}: not a plain .npy array ({error})", code=code) from error
    dense = values.ndim == 3 and values.shape[1] == TOPOLOGIES["bfm53215"]
    about = {"method": path.stem, "topology": "bfm53215" if dense else None, "rotation": "camera", "crop_from": None,
             "names": None, "pixel_origin": origin or "zero", "depth": depth or "away"}
    return _checked_file(path, _Array("vertices" if dense else "landmarks68", values), names, about)


def _checked_file(path: Path, rows, names: Sequence[str], about: dict) -> PredictionFile:
    check_choice("pixel_origin", about["pixel_origin"], PIXEL_ORIGINS)
    check_choice("depth", about["depth"], DEPTHS)
    check_choice("rotation", about["rotation"], ROTATIONS)
    count = len(names)
    landmarks, vertices = rows.shape("landmarks68"), rows.shape("vertices")
    if about["names"] is not None and list(about["names"]) != list(names):
        raise ModelError(f"{path}: predictions of {len(about['names'])} images, where the data set holds {count} or others in "
                         f"another order")
    if landmarks is None and (vertices is None or about["topology"] != "bfm53215"):
        raise ModelError(f"{path}: wanted the tensor landmarks68 (n, 68, 2 or 3), got none")
    if vertices is not None:
        check_choice("topology", about["topology"], TOPOLOGIES)
    wanted = {"landmarks68": (landmarks, (count, 68, (2, 3))), "rotation": (rows.shape("rotation"), (count, 3, 3)),
              "found": (rows.shape("found"), (count,)),
              "vertices": (vertices, (count, TOPOLOGIES.get(about["topology"] or ""), 3))}
    for name, (shape, axes) in wanted.items():
        if shape is None:
            continue
        fits = len(shape) == len(axes) and all(
            want is None or have in (want if isinstance(want, tuple) else (want,)) for have, want in zip(shape, axes))
        if not fits:
            text = ", ".join("V" if axis is None else " or ".join(map(str, axis)) if isinstance(axis, tuple) else str(axis)
                             for axis in axes)
            raise ModelError(f"{path}: {name}: wanted ({text}) for the {count} images of the data set, got {shape}")
    return PredictionFile(path, rows, names, about)
