"""`facerecon pncc --weights` and `facerecon annotate`: a PNCC network over photos."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerecon.cli.inputs import Input
from facerecon.cli.jobs import Record, attempt_photo, refusal
from facerecon.errors import FaceError, FaceReconError
from facerecon.files import write_atomic

if TYPE_CHECKING:
    from facerecon.data import LoadedImage
    from facerecon.detection import DetectedFace
    from facerecon.morphable import MorphableModel
    from facerecon.pncc import CodeSurface, PnccPrediction


@dataclasses.dataclass(frozen=True)
class PnccJob:
    """Options of a run, see `facerecon.cli.jobs.PhotoJob`.

    Attributes:
        folder: output folder.
        weights: path of a PNCC network's weights.
        faces: "all", "largest", or how many of the largest.
        device: "auto", "cpu" or "cuda".
        landmarker: path of another MediaPipe `.task` file for detection, or None.
        model: "open" or a path: the face model by which poses are recovered from the codes; None for codes alone.
        crops: the photos are face crops as in training, so that nothing is detected.
    """

    folder: str
    weights: str
    faces: str | int = "all"
    device: str = "auto"
    landmarker: str | None = None
    model: str | None = None
    crops: bool = False

    @contextlib.contextmanager
    def open(self):
        """Network, detector and face model, see `PhotoJob.open`."""
        from facerecon.detection import FaceFinder
        from facerecon.detection.selection import face_limit
        from facerecon.pncc import PnccPredictor

        limit = face_limit(self.faces)
        predictor = PnccPredictor.load(self.weights, device=self.device)
        surface = None if self.model is None else _surface(self.model, predictor)
        with contextlib.ExitStack() as held:
            finder = None if self.crops else held.enter_context(FaceFinder(self.landmarker))

            def find(item: Input, photo: LoadedImage, loaded_ms: float) -> list[Record]:
                start = time.perf_counter()
                found = [None] if finder is None else _faces(finder, item, photo, limit)
                good = [face for face in found if not isinstance(face, FaceReconError)]
                detected = time.perf_counter()
                codes = iter(predictor.predict_boxes(photo, None if finder is None else [face.box for face in good]))
                timings = {"load": loaded_ms, "detect": 1e3 * (detected - start),
                           "predict": 1e3 * (time.perf_counter() - detected)}
                records = []
                for index, face in enumerate(found):
                    outcome = refusal(face) if isinstance(face, FaceReconError) else self._attempt(
                        item, photo, index, face, next(codes), surface, timings)
                    records.append({"image": item.path, "face": index, "n_faces": len(found), **outcome})
                return records

            yield functools.partial(attempt_photo, find)

    def _attempt(self, *arguments: Any) -> Record:
        try:
            return self._save(*arguments)
        except FaceError as error:
            return refusal(error)

    def _save(self, item: Input, photo: LoadedImage, index: int, face: DetectedFace | None, prediction: PnccPrediction,
              surface: CodeSurface | None, timings: dict[str, float]) -> Record:
        """Write the files of one face; gives what its line of the manifest says beyond which face it is."""
        from facerecon import export

        if not prediction.code.any():
            raise FaceError("the network sees no face there: its map is background alone", code="no_face")
        start = time.perf_counter()
        flags = list(dict.fromkeys((*photo.flags, *(() if face is None else face.flags))))
        pose, flag = _pose(prediction, surface)
        flags += [flag] if flag else []
        folder, stem = Path(self.folder), f"{item.stem}_{index}"
        files = {"pncc": f"{stem}_pncc.png"}
        export.write_image(folder / files["pncc"], prediction.in_photo(photo.pixels.shape[:2]))
        shared: Record = {"status": "ok", "flags": flags}
        if face is not None:
            shared = {"status": "ok", "box": [round(float(value), 2) for value in face.box],
                      "confidence": round(float(face.confidence), 4), "flags": flags}
        if surface is not None:
            files["json"] = f"{stem}.json"
            laps = {**timings, "pose_and_export": 1e3 * (time.perf_counter() - start)}
            crop = {"centre": [float(value) for value in prediction.crop.centre], "side": float(prediction.crop.side)}
            record = {"schema": 1, "image": item.path, "image_size": list(photo.size), "face": index, **shared,
                      "method": "network", "weights": Path(self.weights).name, "model": surface.model_name, "crop": crop, **pose,
                      "timings_ms": {name: round(value, 1) for name, value in laps.items()},
                      "files": {kind: Path(name).name for kind, name in files.items()}}
            # The record of the face comes last: when it is there, so is the map.
            write_atomic(folder / files["json"], json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        return {**shared, "files": files}


def _surface(name: str, predictor: Any) -> CodeSurface:
    from facerecon.morphable import load_model
    from facerecon.pncc import CodeSurface

    model: MorphableModel = load_model(name)
    predictor.task.check_model(model)
    return CodeSurface(model)


def _faces(finder: Any, item: Input, photo: LoadedImage, limit: int | None) -> list[DetectedFace | FaceReconError]:
    from facerecon.detection.selection import choose_faces

    return choose_faces(finder, photo.pixels, boxes=item.boxes, limit=limit)


def _pose(prediction: PnccPrediction, surface: CodeSurface | None) -> tuple[Record, str | None]:
    """The pose in the photo's pixels and its error, for the JSON; and a flag where no pose explains the code."""
    from facerecon.pncc import pose_to_photo, recover_pose

    if surface is None:
        return {}, None
    try:
        found = recover_pose(surface.match(prediction.code), surface.mean)
    except FaceReconError as error:
        return {"pose": None, "pose_fit": None, "pose_error": {"code": error.code, "message": error.message}}, "no_pose"
    pose = pose_to_photo(found.pose, prediction.crop)
    fit = {"pixels": found.pixels, "inlier_share": round(found.inlier_share, 4), "residual_mm": round(found.residual_mm, 3),
           "residual_px": round(found.residual_mm * float(pose.scale), 3)}
    return {"pose": pose.to_dict(), "pose_fit": fit}, None
