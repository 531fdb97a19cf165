"""The whole job: photo -> find faces -> fit -> refine -> texture -> `Reconstruction`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from facerecon.checks import check_choice, check_range
from facerecon.data import load_image
from facerecon.detection import DetectedFace, FaceFinder
from facerecon.detection.selection import choose_faces, face_limit
from facerecon.errors import BackendError, FaceError, FaceReconError
from facerecon.fitting import FitResult, bake_texture, fit_landmarks, refine_photometric
from facerecon.morphable import MorphableModel, load_model
from facerecon.morphable.schemes import IBUG68_TO_MEDIAPIPE478
from facerecon.reconstruction import Reconstruction

METHODS = ("auto", "fit", "encoder")
STAGES = ("full", "landmarks")
TEXTURES = ("uv", "vertex", "none")
FIT_FIGURES = ("landmark_nme_percent", "photometric_rmse", "photometric_rmse_all", "covered_share")
IRIS_CENTRES = (468, 473)


class FaceReconstructor:
    """Reconstruct the faces of photos, with model and detector kept warm between photos.

    A context manager. It may be called from several threads, with the same results; detection then takes turns, so that
    processes, each with its own, are the way to use more cores (`facerecon reconstruct --workers` does that).

    Args:
        model: "open", the path of a `.facemodel`, or a loaded `MorphableModel`.
        method: "fit", or "auto", which is "fit" as long as no encoder weights ship.
        stages: "full", or "landmarks" to stop after the landmark fit (fast; albedo and light stay at their means).
        texture: "uv" bakes a texture from the photo; "vertex" does too, for vertex colours; "none" does not.
        texture_size: side of the texture, px.
        faces: "all", "largest", or the number of largest faces.
        ipd_mm: real distance between the irises' centres; fixes the size, which one photo does not tell.
        device: "auto" or "cpu"; fits run on the CPU, where they are fastest.
        seed: of everything random. Nothing in the fit is: equal photos give equal results.
        landmarker: path of another MediaPipe face landmarker `.task` file.

    Raises:
        ArgumentError, ModelError; BackendError `backend_missing` for the encoder, `device_missing` for a GPU.
    """

    def __init__(self, model: str | os.PathLike[str] | MorphableModel = "open", *, method: str = "auto", stages: str = "full",
                 texture: str = "uv", texture_size: int = 1024, faces: str | int = "all", ipd_mm: float | None = None,
                 device: str = "auto", seed: int = 0, landmarker: str | os.PathLike[str] | None = None) -> None:
        check_choice("method", method, METHODS)
        check_choice("stages", stages, STAGES)
        check_choice("texture", texture, TEXTURES)
        check_range("texture_size", texture_size, 64, 8192)
        check_choice("device", device, ("auto", "cpu", "cuda"))
        check_range("seed", seed, 0)
        if method == "encoder":
            raise BackendError("method 'encoder': no encoder weights are installed; use method='fit'", code="backend_missing")
        if device == "cuda":
            raise BackendError("device 'cuda': fits run on the CPU; use device='auto'", code="device_missing")
        if ipd_mm is not None:
            check_range("ipd_mm", float(ipd_mm), 20, 120)
        self._limit = face_limit(faces)
        self._stages, self._texture, self._texture_size, self._ipd_mm = stages, texture, texture_size, ipd_mm
        self.model = model if isinstance(model, MorphableModel) else load_model(model)
        self._finder = FaceFinder(landmarker)

    def __enter__(self) -> FaceReconstructor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the detector; the instance cannot be used again."""
        self._finder.close()

    def __call__(self, image: Any, *, boxes: Sequence[Sequence[float]] | None = None) -> list[Reconstruction]:
        """Reconstruct the faces of one photo, largest first.

        Args:
            image: path, encoded bytes, Pillow image, NumPy array or torch tensor; see `facerecon.load_image`.
            boxes: faces as (x0, y0, x1, y1) px of the upright photo instead of detection; results come in their order. They
                may reach outside the photo.

        Returns:
            At least one `Reconstruction`. Faces that cannot be fitted are left out when others can; `attempt` names them.

        Raises:
            FaceError `no_face`, `face_too_small`, `box_invalid`; ImageError, PathError; LandmarkError or FitError when no
            face could be fitted.
        """
        outcomes = self.attempt(image, boxes=boxes)
        found = [outcome for outcome in outcomes if isinstance(outcome, Reconstruction)]
        if not found:
            raise outcomes[0]
        return found

    def attempt(self, image: Any, *, boxes: Sequence[Sequence[float]] | None = None) -> list[Reconstruction | FaceReconError]:
        """As a call, but with an error in the place of each face that was found and could not be reconstructed."""
        start = time.perf_counter()
        loaded = load_image(image)
        decoded = time.perf_counter()
        found = choose_faces(self._finder, loaded.pixels, boxes=boxes, limit=self._limit)
        timings = {"load": 1e3 * (decoded - start), "detect": 1e3 * (time.perf_counter() - decoded)}
        outcomes: list[Reconstruction | FaceReconError] = []
        for index, face in enumerate(found):
            if isinstance(face, FaceReconError):
                outcomes.append(face)
                continue
            try:
                outcomes.append(self._reconstruct(loaded, face, index, timings))
            except FaceReconError as error:
                outcomes.append(error)
        return outcomes

    def _reconstruct(self, loaded: Any, face: DetectedFace, index: int, timings: dict[str, float]) -> Reconstruction:
        pixels = loaded.pixels
        clock = _Clock(timings)
        fit = self._fit(pixels, face, clock)
        model, parameters = self.model, fit.parameters
        with torch.no_grad():
            vertices = model.vertices(parameters.identity, parameters.expression)
            neutral = model.vertices(parameters.identity)
            landmarks = parameters.pose.project(model.landmarks("ibug68", parameters.identity, parameters.expression))
        texture = None
        if self._texture != "none":
            texture = bake_texture(model, parameters, pixels, size=self._texture_size)[0]
            clock.lap("texture")
        scale = self._metric_scale(fit)
        pose = parameters.pose if scale == 1 else type(parameters.pose)(parameters.pose.rotation, parameters.pose.translation,
                                                                       parameters.pose.scale / scale)
        return Reconstruction(
            vertices=(vertices * scale).numpy(), neutral=(neutral * scale).numpy(), texture=texture, parameters=parameters,
            model=model, landmarks68=landmarks.numpy(), visibility=np.asarray(fit.visibility68), pose=pose, metric_scale=scale,
            box=np.asarray(face.box), confidence=face.confidence, image=loaded.path, image_size=loaded.size, face=index,
            method="fit", fit={name: getattr(fit, name) for name in FIT_FIGURES},
            timings_ms=clock.laps, flags=tuple(dict.fromkeys((*loaded.flags, *face.flags, *fit.flags))))

    def _fit(self, pixels: np.ndarray, face: DetectedFace, clock: _Clock) -> FitResult:
        if face.points478 is not None:
            points, scheme = _dense_points(self.model, face.points478)
            fit = fit_landmarks(self.model, points, scheme=scheme)
        elif face.points5 is not None:
            fit = fit_landmarks(self.model, face.points5, scheme="five")
        else:
            raise FaceError("no landmarks found in the box; check that it holds one face", code="no_face")
        clock.lap("landmarks")
        if self._stages == "full":
            fit = refine_photometric(self.model, pixels, fit)
            clock.lap("photometric")
        return fit

    def _metric_scale(self, fit: FitResult) -> float:
        if self._ipd_mm is None:
            return 1.0
        parameters = fit.parameters
        with torch.no_grad():
            points = self.model.landmarks("mediapipe478", parameters.identity, torch.zeros_like(parameters.expression))
        return float(self._ipd_mm) / float((points[IRIS_CENTRES[0]] - points[IRIS_CENTRES[1]]).norm())


class _Clock:
    """Milliseconds by stage, on top of those that all faces of a photo share."""

    def __init__(self, shared: dict[str, float]) -> None:
        self.laps = dict(shared)
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = 1e3 * (now - self._last)
        self._last = now


def _dense_points(model: MorphableModel, points478: np.ndarray) -> tuple[np.ndarray, str]:
    """The landmarks that the model knows: all, or the 68 of them that stand for iBUG's."""
    if "mediapipe478" in model.embeddings:
        return points478, "mediapipe478"
    return points478[list(IBUG68_TO_MEDIAPIPE478)], "ibug68"


def reconstruct(image: Any, *, boxes: Sequence[Sequence[float]] | None = None, **options: Any) -> list[Reconstruction]:
    """Reconstruct the faces of one photo; for many photos keep a `FaceReconstructor`, which loads model and detector once.

    Args:
        image, boxes: see `FaceReconstructor.__call__`.
        options: see `FaceReconstructor`.
    """
    with FaceReconstructor(**options) as reconstructor:
        return reconstructor(image, boxes=boxes)
