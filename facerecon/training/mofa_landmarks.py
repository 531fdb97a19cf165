"""Landmarks of pictures that have none: predicted once, kept in a file that a killed run leaves usable."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.errors import PathError
from facerecon.morphable.schemes import IBUG68_TO_MEDIAPIPE478

# Lines between two flushes to the disk.
FLUSH_EVERY = 64


class FoundLandmarks:
    """The 68 points of the largest face of a picture, by `FaceFinder`; a context manager.

    Each result is one line of the file, appended, by a hash of the pixels: the file may serve several folders, and a picture
    that changed is looked at again. A line that a kill cut off is dropped. The jaw's points are MediaPipe's, which lie on the
    visible outline of turned faces.

    Args:
        path: of the file; None keeps nothing.
        finder: with `find(pixels)`; by default a `FaceFinder`, made when the first picture is not in the file.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, finder: Any = None) -> None:
        self._path = None if path is None else Path(path)
        self._finder, self._own = finder, finder is None
        self._known: dict[str, list[list[float]] | None] = {}
        self._stream: Any = None
        self._unwritten = 0

    def __enter__(self) -> FoundLandmarks:
        if self._path is not None and self._path.is_file():
            self._read()
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._flush()
            self._stream.close()
        if self._own and self._finder is not None:
            self._finder.close()

    def find(self, pixels: np.ndarray) -> np.ndarray | None:
        """(68, 2) float64 px of uint8 RGB pixels (H, W, 3), or None where no face has landmarks.

        Raises:
            PathError: `path_write`.
        """
        key = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()[:32]
        if key not in self._known:
            self._known[key] = self._look(pixels)
            self._append(key)
        points = self._known[key]
        return None if points is None else np.asarray(points, np.float64)

    def _look(self, pixels: np.ndarray) -> list[list[float]] | None:
        if self._finder is None:
            from facerecon.detection import FaceFinder

            self._finder = FaceFinder()
        # Below the window of the detectors there is nothing to find.
        faces = self._finder.find(pixels) if min(pixels.shape[:2]) >= 24 else []
        dense = next((face.points478 for face in faces[:1]), None)
        return None if dense is None else np.round(dense[list(IBUG68_TO_MEDIAPIPE478), :2].astype(np.float64), 3).tolist()

    def _read(self) -> None:
        content = self._path.read_bytes()
        whole = content[:content.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                row = json.loads(line)
                points = row["points68"]
                self._known[str(row["key"])] = None if points is None else np.asarray(points, float).reshape(68, 2).tolist()
            except (ValueError, KeyError, TypeError):
                # A line that says nothing costs one more look at its picture.
                continue
        if len(whole) < len(content):
            os.truncate(self._path, len(whole))

    def _append(self, key: str) -> None:
        if self._path is None:
            return
        try:
            if self._stream is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = open(self._path, "ab")
            self._stream.write(json.dumps({"key": key, "points68": self._known[key]}).encode() + b"\n")
            self._unwritten += 1
            if self._unwritten >= FLUSH_EVERY:
                self._flush()
        except OSError as error:
            raise PathError(f"cannot write {self._path}: {error.strerror}", code="path_write") from error

    def _flush(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._unwritten = 0
