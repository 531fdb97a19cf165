"""The networks that ship besides the encoder, as methods of `evaluate_weights`: what they say without any fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from evaluate_weights_methods import Asked, Seen, angles_of

from facerecon.alignment import LandmarkPredictor
from facerecon.detection import DetectedFace, FaceFinder
from facerecon.detection.selection import choose_faces, face_limit
from facerecon.errors import FaceReconError
from facerecon.morphable import load_model
from facerecon.pncc import CodeSurface, PnccPredictor, pose_to_photo, recover_pose

Answers = Callable[[np.ndarray, list[DetectedFace]], list[Seen]]


def landmark_network(weights: str) -> Asked:
    """The points of a heatmap network; it tells no angles."""
    predictor = LandmarkPredictor.load(weights)

    def answer(pixels: np.ndarray, faces: list[DetectedFace]) -> list[Seen]:
        points = predictor.predict_boxes(pixels, [face.box for face in faces]).points
        return [Seen(np.asarray(face.box, np.float64), found, None) for face, found in zip(faces, points)]

    return _asked(answer)


def pncc_network(weights: str) -> Asked:
    """The pose that explains a network's code, and the points of the mean face in it."""
    predictor, model = PnccPredictor.load(weights), load_model("open")
    predictor.task.check_model(model)
    identity, expression, _ = (torch.zeros(size) for size in model.sizes)
    surface, mean = CodeSurface(model), model.landmarks("ibug68", identity, expression)

    def answer(pixels: np.ndarray, faces: list[DetectedFace]) -> list[Seen]:
        seen = []
        for face, code in zip(faces, predictor.predict_boxes(pixels, [face.box for face in faces])):
            box = np.asarray(face.box, np.float64)
            try:
                pose = pose_to_photo(recover_pose(surface.match(code.code), surface.mean).pose, code.crop)
            except FaceReconError:
                # A code that no pose explains: the face was found, and nothing is known of it.
                seen.append(Seen(box, None, None))
                continue
            seen.append(Seen(box, pose.project(mean)[:, :2].double().numpy(), angles_of(pose)))
        return seen

    return _asked(answer)


def _asked(answer: Answers) -> Asked:
    finder = FaceFinder()

    def asking(faces: str) -> Callable[[np.ndarray], list[Seen]]:
        def ask(pixels: np.ndarray) -> list[Seen]:
            return answer(pixels, choose_faces(finder, pixels, limit=face_limit(faces)))

        return ask

    return Asked(asking("largest"), asking("all"), finder.close)
