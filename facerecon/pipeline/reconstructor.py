"""Photo -> find faces -> parameters -> mesh -> texture -> `Reconstruction`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from facerecon.checks import check_choice, check_range
from facerecon.data import load_image
from facerecon.detection import DetectedFace, FaceFinder
from facerecon.detection.confidence import CERTAIN
from facerecon.detection.selection import choose_faces, face_limit
from facerecon.errors import BackendError, FaceReconError
from facerecon.fitting import FitResult, bake_texture
from facerecon.morphable import MorphableModel, load_model
from facerecon.pipeline.encoder_weights import check_encoder_options, find_encoder
from facerecon.pipeline.landmark_network import LandmarkNetwork, landmark_network_ships
from facerecon.pipeline.methods import METHODS, STAGES, Clock, FaceEstimator
from facerecon.reconstruction import Reconstruction

if TYPE_CHECKING:
    from facerecon.mofa import EncoderFile

TEXTURES = ("uv", "vertex", "none")
FIT_FIGURES = ("landmark_nme_percent", "photometric_rmse", "photometric_rmse_all", "covered_share")
IRIS_CENTRES = (468, 473)
# Where the largest face alone is wanted, a certain face of this share of the photo's longer side ends the search.
QUICK_SHARE = 0.25


class FaceReconstructor:
    """Reconstruct the faces of photos, with model and detector kept warm between photos.

    A context manager. It may be called from several threads, with the same results; detection then takes turns, so that
    processes, each with its own, are the way to use more cores (`facerecon reconstruct --workers` does that).

    Args:
        model: "open", the path of a `.facemodel`, or a loaded `MorphableModel`.
        method: "fit"; "encoder", one pass of a network (fast); or "auto", a fit that begins where the encoder ends, and "fit"
            where there are no encoder weights.
        stages: of a fit, "full", or "landmarks" to stop after the landmarks (fast; albedo and light stay at their means).
        texture: "uv" bakes a texture from the photo; "vertex" does too, for vertex colours; "none" does not.
        texture_size: side of the texture, px.
        faces: "all", "largest", or the number of largest faces.
        ipd_mm: real distance between the irises' centres; fixes the size, which one photo does not tell.
        device: "auto" or "cpu"; fits run on the CPU, where they are fastest. Of the networks with method "encoder", where
            "cuda" is possible too and "auto" takes it where it is there.
        seed: of everything random. Nothing in the fit is: equal photos give equal results.
        landmarker: path of another MediaPipe face landmarker `.task` file.
        weights: of the encoder, a file that `facerecon train mofa-...` wrote for this model, or what
            `facerecon.mofa.load_encoder` gave; None for the weights that ship, if any.
        pncc_weights: of the PNCC network, for an encoder with PNCC input.

    Method "encoder" with faces="largest" looks first with MediaPipe alone, which takes a quarter of the time, and is content
    with a certain face over a quarter of the photo's longer side.

    Raises:
        ArgumentError; ModelError, also for weights of another face model; BackendError `backend_missing` for an encoder
        without weights, `device_missing` for a GPU.
    """

    def __init__(self, model: str | os.PathLike[str] | MorphableModel = "open", *, method: str = "auto", stages: str = "full",
                 texture: str = "uv", texture_size: int = 1024, faces: str | int = "all", ipd_mm: float | None = None,
                 device: str = "auto", seed: int = 0, landmarker: str | os.PathLike[str] | None = None,
                 weights: str | os.PathLike[str] | EncoderFile | None = None,
                 pncc_weights: str | os.PathLike[str] | None = None) -> None:
        check_choice("method", method, METHODS)
        check_choice("stages", stages, STAGES)
        check_choice("texture", texture, TEXTURES)
        check_range("texture_size", texture_size, 64, 8192)
        check_choice("device", device, ("auto", "cpu", "cuda"))
        check_range("seed", seed, 0)
        check_encoder_options(method, weights, pncc_weights)
        if device == "cuda" and method != "encoder":
            raise BackendError("device 'cuda': fits run on the CPU; use device='auto'", code="device_missing")
        if ipd_mm is not None:
            check_range("ipd_mm", float(ipd_mm), 20, 120)
        self._limit = face_limit(faces)
        self._texture, self._texture_size, self._ipd_mm = texture, texture_size, ipd_mm
        self.model = model if isinstance(model, MorphableModel) else load_model(model)
        encoder = find_encoder(self.model, method=method, weights=weights, pncc_weights=pncc_weights,
                               device=device if method == "encoder" else "cpu")
        self._estimate = FaceEstimator(self.model, method=method, stages=stages, encoder=encoder,
                                       landmarks=LandmarkNetwork() if method == "auto" and landmark_network_ships() else None)
        self._finder = FaceFinder(landmarker)
        self._quick = FaceFinder(landmarker, use_mtcnn=False) if method == "encoder" and self._limit == 1 else None

    def __enter__(self) -> FaceReconstructor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def method(self) -> str:
        """What is done: "fit", "encoder", or "auto" where an encoder starts the fit."""
        return self._estimate.method

    def close(self) -> None:
        """Release the detector; the instance cannot be used again."""
        self._finder.close()
        if self._quick is not None:
            self._quick.close()

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
        found = self._find(loaded.pixels, boxes)
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

    def _find(self, pixels: np.ndarray, boxes: Sequence[Sequence[float]] | None) -> list[DetectedFace | FaceReconError]:
        if self._quick is not None and boxes is None:
            found = self._quick.find(pixels)
            if found and found[0].confidence >= CERTAIN and found[0].size >= QUICK_SHARE * max(pixels.shape[:2]):
                return found[:1]
        return choose_faces(self._finder, pixels, boxes=boxes, limit=self._limit)

    def _reconstruct(self, loaded: Any, face: DetectedFace, index: int, timings: dict[str, float]) -> Reconstruction:
        pixels = loaded.pixels
        clock = Clock(timings)
        fit = self._estimate(pixels, face, clock)
        model, parameters = self.model, fit.parameters
        with torch.no_grad():
            vertices = model.vertices(parameters.identity, parameters.expression)
            neutral = model.vertices(parameters.identity)
            landmarks = parameters.pose.project(model.landmarks("ibug68", parameters.identity, parameters.expression))
        clock.lap("decode")
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
            method=self.method, fit={name: getattr(fit, name) for name in FIT_FIGURES},
            timings_ms=clock.laps, flags=tuple(dict.fromkeys((*loaded.flags, *face.flags, *fit.flags))))

    def _metric_scale(self, fit: FitResult) -> float:
        if self._ipd_mm is None:
            return 1.0
        parameters = fit.parameters
        with torch.no_grad():
            points = self.model.landmarks("mediapipe478", parameters.identity, torch.zeros_like(parameters.expression))
        return float(self._ipd_mm) / float((points[IRIS_CENTRES[0]] - points[IRIS_CENTRES[1]]).norm())


def reconstruct(image: Any, *, boxes: Sequence[Sequence[float]] | None = None, **options: Any) -> list[Reconstruction]:
    """Reconstruct the faces of one photo; for many photos keep a `FaceReconstructor`, which loads model and detector once.

    Args:
        image, boxes: see `FaceReconstructor.__call__`.
        options: see `FaceReconstructor`.
    """
    with FaceReconstructor(**options) as reconstructor:
        return reconstructor(image, boxes=boxes)
