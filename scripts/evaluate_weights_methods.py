"""The methods of `evaluate_weights`, and how each is asked about one face of one photo.

A method is given the photo alone, and finds the face itself. It is asked for the largest face first, which is what is timed.
Where that is another face than the one meant, it is asked for all faces. The face meant is *found* when the box of a face in
the answer and the box of the true 68 points have an intersection over union of 0.3 or more; of several the one that overlaps
most.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from evaluate_weights_sets import Face

from facerecon.assets import locate
from facerecon.detection import FaceFinder
from facerecon.detection.boxes import iou, points_box
from facerecon.errors import FaceReconError
from facerecon.files import sha256_file
from facerecon.fitting import fit_landmarks
from facerecon.geometry import ScaledOrthographicPose
from facerecon.morphable import load_model
from facerecon.morphable.schemes import IBUG68_TO_MEDIAPIPE478
from facerecon.pipeline import (
    ENCODER_ASSET, LANDMARK_ASSET, FaceReconstructor, check_encoder_options, landmark_network_ships)

TITLES = {"mediapipe": "(a) MediaPipe's points", "fit": "(b) landmarks-only fit", "encoder": "(c) encoder",
          "auto": "(d) encoder + fit", "landmarks": "(e) landmark network", "pncc": "(f) PNCC network, mean face"}
# Networks that need nothing but their own file.
NETWORKS = {"landmarks": LANDMARK_ASSET, "pncc": "weights/pncc-128.safetensors"}
# Not compared: it tells the yaw of faces whose angles nobody knows.
LABELS = "labels"
LEAST_OVERLAP = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a method says of one face.

    Attributes:
        name: of the face. code: None when found; else why not: "no_face", "other_face" (only faces elsewhere in the photo),
            "no_dense_landmarks", or the code of an error.
        points: (68, 2) px. euler: (3,) pitch, yaw, roll in degrees. box: (4,) px. None where there is none.
        overlap: intersection over union of `box` and the box of the true points; 0 without a box.
        ms, cpu_ms: of the question about the largest face: wall time, and the time of all threads together.
        again: whether all faces had to be asked for.
    """

    name: str
    code: str | None = None
    points: np.ndarray | None = None
    euler: np.ndarray | None = None
    box: np.ndarray | None = None
    overlap: float = 0.0
    ms: float = 0.0
    cpu_ms: float = 0.0
    again: bool = False

    @property
    def found(self) -> bool:
        return self.code is None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, rounded to a ten-thousandth of a pixel or degree; `from_dict` is the inverse."""
        values = dataclasses.asdict(self)
        return {name: np.round(value, 4).tolist() if isinstance(value, (np.ndarray, float)) else value
                for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Answer:
        arrays = ("points", "euler", "box")
        return cls(**{name: np.asarray(value, np.float64) if name in arrays and value is not None else value
                      for name, value in values.items()})


class Seen(NamedTuple):
    """A face in an answer: box (4,), points (68, 2) or None where the method has none for it, angles (3,) or None."""

    box: np.ndarray
    points: np.ndarray | None
    euler: np.ndarray | None


class Asked:
    """A method that can be asked about a face.

    Args:
        largest: photo (H, W, 3) uint8 -> the faces that count as the largest, in any number; may raise FaceReconError.
        every: the same for all faces.
        close: releases what the method holds.
    """

    def __init__(self, largest: Callable[[np.ndarray], Sequence[Seen]], every: Callable[[np.ndarray], Sequence[Seen]],
                 close: Callable[[], None] = lambda: None) -> None:
        self._largest, self._every, self.close = largest, every, close

    def __call__(self, face: Face, pixels: np.ndarray) -> Answer:
        """The method's answer about `face`; never raises a FaceReconError."""
        clock, processor = time.perf_counter(), time.process_time()
        seen, code = _attempt(self._largest, pixels)
        spent = {"ms": 1e3 * (time.perf_counter() - clock), "cpu_ms": 1e3 * (time.process_time() - processor)}
        chosen, again = chosen_face(seen, face.points), False
        if chosen is None and code != "no_face":
            again = True
            others, refused = _attempt(self._every, pixels)
            chosen, code = chosen_face(others, face.points), code or refused
        if chosen is None:
            return Answer(face.name, code or "other_face", again=again, **spent)
        overlap = _overlaps([chosen], face.points)[0]
        code = "no_dense_landmarks" if chosen.points is None else None
        return Answer(face.name, code, chosen.points, chosen.euler, chosen.box, float(overlap), again=again, **spent)


def chosen_face(seen: Sequence[Seen], points: np.ndarray) -> Seen | None:
    """The face that overlaps the box of the true points most, if by `LEAST_OVERLAP`."""
    if not seen:
        return None
    overlaps = _overlaps(seen, points)
    best = int(np.argmax(overlaps))
    return seen[best] if overlaps[best] >= LEAST_OVERLAP else None


@dataclasses.dataclass(frozen=True)
class MethodSpec:
    """A method and the files it needs, small and picklable: `key` of `TITLES` or `LABELS`; torch's threads. The landmark network
    of the whole pipeline is that which ships; it is named so that answers of another are not taken for its own."""

    key: str
    weights: str | None = None
    pncc_weights: str | None = None
    threads: int = 1
    landmarks: str | None = None

    def files(self) -> dict[str, str]:
        """Hashes of the weights that answers depend on."""
        given = {"weights": self.weights, "pncc_weights": self.pncc_weights, "landmarks": self.landmarks}
        return {name: sha256_file(Path(path)) for name, path in given.items() if path is not None}


def method_specs(keys: Sequence[str], *, weights: Path | None, pncc_weights: Path | None, threads: int) -> list[MethodSpec]:
    """The methods of these keys; encoders by the weights given, else by those that ship, other networks by those that ship.

    Raises:
        BackendError: `backend_missing` when there are none. ArgumentError: a PNCC network without an encoder.
    """
    specs = []
    for key in keys:
        if key not in ("encoder", "auto"):
            specs.append(MethodSpec(key, str(locate(NETWORKS[key])) if key in NETWORKS else None, threads=threads))
            continue
        # "auto" would quietly go without; here that is no answer.
        check_encoder_options("encoder", weights, pncc_weights)
        path = locate(ENCODER_ASSET) if weights is None else weights
        also = str(locate(LANDMARK_ASSET)) if key == "auto" and landmark_network_ships() else None
        specs.append(MethodSpec(key, str(path), None if pncc_weights is None else str(pncc_weights), threads, also))
    return specs


def build(spec: MethodSpec) -> Asked | LabelFit:
    """Load what a method needs, in the process that is to ask it.

    Raises:
        ModelError, ArgumentError: as of `FaceReconstructor`.
    """
    import torch

    torch.set_num_threads(spec.threads)
    if spec.key == LABELS:
        return LabelFit()
    if spec.key == "mediapipe":
        finder = FaceFinder()

        def find(pixels: np.ndarray) -> list[Seen]:
            return [_mapped(face) for face in finder.find(pixels)]

        return Asked(find, find, finder.close)
    if spec.key in NETWORKS:
        from evaluate_weights_networks import landmark_network, pncc_network

        return {"landmarks": landmark_network, "pncc": pncc_network}[spec.key](spec.weights)
    options = {"stages": "landmarks"} if spec.key == "fit" else {"weights": spec.weights, "pncc_weights": spec.pncc_weights}
    model = load_model("open")
    makers = [FaceReconstructor(model, method=spec.key, texture="none", faces=faces, **options) for faces in ("largest", "all")]

    def close() -> None:
        for maker in makers:
            maker.close()

    return Asked(*(_reconstructing(maker) for maker in makers), close)


class LabelFit:
    """The open model fitted to the true points themselves: what tells the yaw of crops."""

    def __init__(self) -> None:
        self._model = load_model("open")

    def __call__(self, face: Face, pixels: np.ndarray | None = None) -> Answer:
        try:
            pose = fit_landmarks(self._model, face.points, scheme="ibug68").parameters.pose
        except FaceReconError as error:
            return Answer(face.name, error.code)
        return Answer(face.name, euler=angles_of(pose), box=points_box(face.points), overlap=1.0)

    def close(self) -> None:
        """Nothing is held."""


def _reconstructing(maker: FaceReconstructor) -> Callable[[np.ndarray], list[Seen]]:
    def ask(pixels: np.ndarray) -> list[Seen]:
        return [Seen(np.asarray(one.box, np.float64), one.landmarks68[:, :2].astype(np.float64), angles_of(one.pose))
                for one in maker(pixels)]

    return ask


def _mapped(face: Any) -> Seen:
    points = None if face.points478 is None else face.points478[list(IBUG68_TO_MEDIAPIPE478), :2].astype(np.float64)
    return Seen(np.asarray(face.box, np.float64), points, None)


def _attempt(ask: Callable[[np.ndarray], Sequence[Seen]], pixels: np.ndarray) -> tuple[Sequence[Seen], str | None]:
    try:
        seen = ask(pixels)
    except FaceReconError as error:
        return [], error.code
    return seen, None if seen else "no_face"


def _overlaps(seen: Sequence[Seen], points: np.ndarray) -> np.ndarray:
    return iou(points_box(points), np.stack([face.box for face in seen]))


def angles_of(pose: ScaledOrthographicPose) -> np.ndarray:
    """(3,) pitch, yaw and roll in degrees, as AFLW2000-3D has them."""
    angles = pose.to_dict()["euler_deg"]
    return np.array([angles[name] for name in ("pitch", "yaw", "roll")], np.float64)
