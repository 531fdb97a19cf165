"""`facerecon landmarks --weights`: a heatmap network over photos."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from facerecon.cli.inputs import Input
from facerecon.cli.jobs import Record, attempt_photo, refusal
from facerecon.errors import FaceReconError
from facerecon.files import write_atomic

if TYPE_CHECKING:
    import numpy as np

    from facerecon.data import LoadedImage
    from facerecon.detection import DetectedFace

# What a face's flags say of its dense landmarks is of no concern here.
_OTHERS_FLAGS = {"no_dense_landmarks"}


@dataclasses.dataclass(frozen=True)
class LandmarkJob:
    """Options of a run, see `facerecon.cli.jobs.PhotoJob`.

    Attributes:
        folder: output folder.
        weights: path of a landmark network's weights.
        faces: "all", "largest", or how many of the largest.
        device: "auto", "cpu" or "cuda".
        landmarker: path of another MediaPipe `.task` file for detection, or None.
    """

    folder: str
    weights: str
    faces: str | int = "all"
    device: str = "auto"
    landmarker: str | None = None

    @contextlib.contextmanager
    def open(self):
        """Network and detector, see `PhotoJob.open`."""
        from facerecon.alignment import LandmarkPredictor
        from facerecon.detection import FaceFinder
        from facerecon.detection.selection import choose_faces, face_limit

        limit = face_limit(self.faces)
        predictor = LandmarkPredictor.load(self.weights, device=self.device)
        with FaceFinder(self.landmarker) as finder:
            def find(item: Input, photo: LoadedImage, loaded_ms: float) -> list[Record]:
                start = time.perf_counter()
                found = choose_faces(finder, photo.pixels, boxes=item.boxes, limit=limit)
                faces = [face for face in found if not isinstance(face, FaceReconError)]
                detected = time.perf_counter()
                points, confidence = predictor.predict_boxes(photo, [face.box for face in faces])
                timings = {"load": loaded_ms, "detect": 1e3 * (detected - start),
                           "predict": 1e3 * (time.perf_counter() - detected)}
                about = {"scheme": predictor.scheme.name, "weights": Path(self.weights).name,
                         "timings_ms": {name: round(value, 1) for name, value in timings.items()}}
                results = iter(zip(points, confidence))
                return [{"image": item.path, "face": index, "n_faces": len(found),
                         **(refusal(face) if isinstance(face, FaceReconError)
                            else self._save(item, photo, index, face, *next(results), about))}
                        for index, face in enumerate(found)]

            yield functools.partial(attempt_photo, find)

    def _save(self, item: Input, photo: LoadedImage, index: int, face: DetectedFace, points: np.ndarray, confidence: np.ndarray,
              about: Record) -> Record:
        """Write the files of one face; gives what its line of the manifest says beyond which face it is."""
        from facerecon.export.landmarks import CONVENTION, write_pts

        folder, stem = Path(self.folder), f"{item.stem}_{index}"
        files = {"pts": f"{stem}.pts", "json": f"{stem}.json"}
        write_pts(folder / files["pts"], points)
        flags = [flag for flag in (*face.flags, *photo.flags) if flag not in _OTHERS_FLAGS]
        shared = {"status": "ok", "box": [round(float(value), 2) for value in face.box],
                  "confidence": round(float(face.confidence), 4), "flags": flags}
        record = {
            "schema": 1, "image": item.path, "image_size": list(photo.size), "face": index, **shared, "method": "heatmaps",
            **about, "convention": CONVENTION,
            "points": [[round(value, 4) for value in point] for point in points.tolist()],
            "point_confidence": [round(value, 4) for value in confidence.tolist()],
            "files": {kind: Path(name).name for kind, name in files.items()}}
        # The record of the face comes last: when it is there, so are the points.
        write_atomic(folder / files["json"], json.dumps(record, indent=1, allow_nan=False) + "\n")
        return {**shared, "files": files}
