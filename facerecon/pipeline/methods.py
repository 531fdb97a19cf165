"""From a found face to its parameters: by a fit, by an encoder, or by a fit that begins where the encoder ends."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from facerecon.detection import DetectedFace
from facerecon.detection.five_points import roll_of
from facerecon.errors import FaceError, FaceReconError, LandmarkError
from facerecon.fitting import FitResult, fit_landmarks, judge_parameters, refine_photometric
from facerecon.fitting.start import check_start
from facerecon.morphable import FaceParameters, MorphableModel
from facerecon.morphable.schemes import IBUG68_TO_MEDIAPIPE478
from facerecon.pipeline.guidance import (
    DOUBT_PERCENT, TURN_START_DEG, Look, both_ways, guidance, judged_flags, near_face, turn_degrees, with_heatmaps)

if TYPE_CHECKING:
    from facerecon.mofa import EncoderPredictor, EncoderResult
    from facerecon.pipeline.landmark_network import LandmarkNetwork

# Networks have seen heads that lean by 25 degrees; beyond, their crop leans with the head.
ROLL_LIMIT = math.radians(30)
METHODS = ("auto", "fit", "encoder")
STAGES = ("full", "landmarks")
# Of the encoder's points.
SCHEME = "ibug68"
# The encoder's answer was not a better start than none, or it gave none; the result is that of the fit alone.
UNUSED = "encoder_unused"


class Clock:
    """Milliseconds by stage, on top of those that all faces of a photo share."""

    def __init__(self, shared: dict[str, float]) -> None:
        self.laps = dict(shared)
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a stage; one that comes twice is summed."""
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + 1e3 * (now - self._last)
        self._last = now


class FaceEstimator:
    """Parameters of one face of a photo. Holds no state between faces; thread-safe.

    Args:
        model: the face model.
        method: "fit", "encoder" or "auto".
        stages: of a fit, "full", or "landmarks" without the photometric stage.
        encoder: of the last two; without one, "auto" is "fit".
        landmarks: looks again, with "auto", where the encoder has seen a turned head; None: the encoder alone guides the fit.

    Attributes:
        method: what is really done, as records name it.
    """

    def __init__(self, model: MorphableModel, *, method: str, stages: str = "full",
                 encoder: EncoderPredictor | None = None, landmarks: LandmarkNetwork | None = None) -> None:
        self.model, self._stages, self._encoder, self._landmarks = model, stages, encoder, landmarks
        self.method = "fit" if encoder is None else method

    def __call__(self, pixels: np.ndarray, face: DetectedFace, clock: Clock) -> FitResult:
        """The face's parameters, judged by its landmarks.

        Args:
            pixels: (H, W, 3) uint8 RGB, the upright photo.
            face: where the face is.
            clock: is told of the stages "encode" and "judge", or "encode", "landmarks" and "photometric".

        Raises:
            FaceError: `no_face` without landmarks. LandmarkError: of no face. FitError: `fit_failed`. ModelError:
            `model_corrupt` when the encoder's numbers cannot be used, and there is nothing else to go by.
        """
        points, scheme = self._points(face)
        if self.method == "encoder":
            look = self._look(pixels, face)
            clock.lap("encode")
            judged = judge_parameters(self.model, look.parameters, points, scheme=scheme)
            clock.lap("judge")
            return judged.replace(flags=judged_flags(judged.flags, look.parameters, look))
        look = start = guide = weights = None
        if self.method == "auto":
            look = self._start(pixels, face)
            if look is not None:
                start = look.parameters
                if SCHEME in self.model.embeddings and near_face(look.landmarks68, face.box):
                    look = self._sharpened(pixels, look)
                    guide, weights = guidance(look, len(points))
            clock.lap("encode")
        try:
            fit = fit_landmarks(self.model, points, scheme=scheme, weights=weights, start=start, guide=guide)
        except LandmarkError:
            if guide is None:
                raise
            # No head has both the landmarks and the guide; without it either is a face, or nothing is.
            guide = None
            fit = fit_landmarks(self.model, points, scheme=scheme, start=start)
        clock.lap("landmarks")
        if self._stages == "full":
            fit = refine_photometric(self.model, pixels, fit, guess=start)
            clock.lap("photometric")
        if guide is not None:
            fit = fit.replace(flags=judged_flags(fit.flags, fit.parameters, look))
        elif self.method == "auto" and not fit.warm:
            fit = fit.replace(flags=(*fit.flags, UNUSED))
        return fit

    def _start(self, pixels: np.ndarray, face: DetectedFace) -> Look | None:
        try:
            return self._look(pixels, face)
        except FaceReconError:
            # Nothing is lost: the fit can do without, and the flag says that it did.
            return None

    def _sharpened(self, pixels: np.ndarray, look: Look) -> Look:
        """The look with the heatmaps' points where the head is turned; near the front a detector's landmarks are as good."""
        if self._landmarks is None or turn_degrees(look.parameters) < TURN_START_DEG:
            return look
        try:
            return with_heatmaps(look, *self._landmarks(pixels, look.landmarks68, roll=look.roll))
        except FaceError:
            return look

    def _look(self, pixels: np.ndarray, face: DetectedFace) -> Look:
        """The encoder's answer; its mirrored look too, but for a face that the encoder alone tells in half the time."""
        look = self._looked(pixels, face)
        if look.doubt_percent is None or look.doubt_percent <= DOUBT_PERCENT or face.points478 is None:
            return look
        # Dense landmarks of a profile may be so wrong that their crop misses half of the face; the box may still be right.
        try:
            other = self._looked(pixels, dataclasses.replace(face, points478=None))
        except FaceReconError:
            return look
        return other if other.doubt_percent < look.doubt_percent else look

    def _looked(self, pixels: np.ndarray, face: DetectedFace) -> Look:
        parameters, seen = self._encode(pixels, face)
        frontal = face.points478 is not None and turn_degrees(parameters) < TURN_START_DEG
        if self.method == "encoder" and frontal:
            return Look(parameters, seen.landmarks68, None, seen.crop.roll)
        return both_ways(parameters, seen.landmarks68, self._encoder.mirrored_landmarks(pixels, seen), roll=seen.crop.roll)

    def _encode(self, pixels: np.ndarray, face: DetectedFace) -> tuple[FaceParameters, EncoderResult]:
        """The encoder's parameters, checked, and its answer.

        Training crops are squares around 68 landmarks, hidden ones included, of faces that stand. A box and a detector's points
        tell where those lie of a face that looks at the camera; of others the first answer says where to cut the second crop.
        """
        roll = 0.0 if face.points5 is None else roll_of(face.points5)
        roll = roll if abs(roll) > ROLL_LIMIT else 0.0
        if face.points478 is None:
            seen = self._encoder.predict(pixels, face.box, roll=roll)
        else:
            seen = self._encoder.predict(pixels, points=face.points478[list(IBUG68_TO_MEDIAPIPE478), :2], roll=roll)
            parameters = check_start(self.model, seen.parameters)
            if turn_degrees(parameters) < TURN_START_DEG:
                return parameters, seen
        seen = self._encoder.predict(pixels, points=seen.landmarks68, roll=roll)
        return check_start(self.model, seen.parameters), seen

    def _points(self, face: DetectedFace) -> tuple[np.ndarray, str]:
        if face.points478 is not None:
            if "mediapipe478" in self.model.embeddings:
                return face.points478, "mediapipe478"
            return face.points478[list(IBUG68_TO_MEDIAPIPE478)], "ibug68"
        if face.points5 is None:
            raise FaceError("no landmarks found in the box; check that it holds one face", code="no_face")
        return face.points5, "five"
