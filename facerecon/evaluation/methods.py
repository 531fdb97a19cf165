"""What can be evaluated: reconstruction by this package, fitted or encoded, and the two baselines that frame every figure."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from facerecon.checks import check_choice
from facerecon.data.datasets.sample import MorphableSample
from facerecon.errors import ArgumentError, FaceError
from facerecon.evaluation.placement import place_in_box, posed
from facerecon.evaluation.truth import DenseTruth, truth_from_sample

METHODS = ("fit", "encoder", "mean-face", "ground-truth")
CROPS = ("detector", "gt68")
POSES = ("frontal", "truth")
STAGES = ("full", "landmarks")


@dataclasses.dataclass(frozen=True)
class MethodSpec:
    """Which method, with what: small and picklable, so that worker processes can build it.

    Attributes:
        kind: "fit", "encoder", "mean-face", "ground-truth".
        model: "open" or the path of a `.facemodel`.
        crop_from: where the face is looked for: by the detector, or in the box of the true 68 landmarks.
        pose: of the mean face: frontal in the box, or turned as the truth is.
        stages: of the fit: "full", or "landmarks" without the photometric stage.
        dense: keep the mesh.
        seed: of what is random.
        weights: of the encoder, a file.
        pncc: what an encoder of six channels is given: weights of a PNCC network, or "truth" for the code of the annotation.
        basel: a converted Basel model, by which "truth" is drawn where the annotation is a Basel face.
    """

    kind: str
    model: str = "open"
    crop_from: str = "detector"
    pose: str = "frontal"
    stages: str = "full"
    dense: bool = True
    seed: int = 0
    weights: str | None = None
    pncc: str | None = None
    basel: str | None = None

    def __post_init__(self) -> None:
        check_choice("method", self.kind, METHODS)
        check_choice("crop_from", self.crop_from, CROPS)
        check_choice("pose", self.pose, POSES)
        check_choice("stages", self.stages, STAGES)
        given = [name for name in ("weights", "pncc", "basel") if getattr(self, name) is not None]
        if given and self.kind != "encoder":
            raise ArgumentError(f"{', '.join(given)}: for method encoder alone, got method {self.kind}")
        if self.kind == "ground-truth" and self.dense and self.model == "open":
            object.__setattr__(self, "dense", False)


class Method(Protocol):
    """A method in a worker: `about` is the stored configuration, `run` gives the arrays of one prediction."""

    about: dict

    def run(self, sample: MorphableSample) -> dict[str, np.ndarray | None]: ...

    def close(self) -> None: ...


def build_method(spec: MethodSpec) -> Method:
    """Load what a method needs; call it in the process that runs the method."""
    if spec.kind == "fit":
        from facerecon.evaluation.fit_method import FitMethod

        return FitMethod(spec)
    if spec.kind == "encoder":
        from facerecon.evaluation.encoder_method import EncoderMethod

        return EncoderMethod(spec)
    return MeanFaceMethod(spec) if spec.kind == "mean-face" else GroundTruthMethod(spec)


def landmark_box(landmarks: np.ndarray) -> np.ndarray:
    """The box (4,) x0, y0, x1, y1 of landmarks (68, 2 or 3)."""
    return np.concatenate([landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)])


class GroundTruthMethod:
    """The truth as a prediction: every error must be zero, or what a truncated model costs.

    Landmarks and pose are the stored ones; with a Basel model the mesh is that of the parameters.
    """

    def __init__(self, spec: MethodSpec) -> None:
        self.truth: DenseTruth | None = None
        if spec.dense:
            from facerecon.evaluation.basel import load_dense_truth

            self.truth = load_dense_truth(spec.model)
        self.about = {"method": "ground truth", "model": self.truth.title if self.truth else None, "crop_from": None,
                      "topology": "bfm53215" if self.truth else None, "landmark_depth": True}

    def run(self, sample: MorphableSample) -> dict[str, np.ndarray | None]:
        truth = truth_from_sample(sample)
        return {"landmarks68": truth.landmarks68, "rotation": truth.rotation,
                "vertices": None if self.truth is None else self.truth.vertices([truth])[0]}

    def close(self) -> None:
        """Nothing is held."""


class MeanFaceMethod:
    """The mean face of a model in the face's box: what a method that sees nothing would score."""

    def __init__(self, spec: MethodSpec) -> None:
        from facerecon.evaluation.basel import load_mean_face

        self.face, name = load_mean_face(spec.model, dense=spec.dense)
        self.spec = spec
        self.finder = None
        if spec.crop_from == "detector" and spec.pose == "frontal":
            from facerecon.detection import FaceFinder

            self.finder = FaceFinder()
        self.about = {"method": f"mean face, {spec.pose} pose", "model": name,
                      "crop_from": "gt68" if spec.pose == "truth" else spec.crop_from, "topology": self.face.topology,
                      "landmark_depth": True}

    def run(self, sample: MorphableSample) -> dict[str, np.ndarray | None]:
        truth = truth_from_sample(sample)
        if self.spec.pose == "frontal":
            return place_in_box(self.face, self._box(sample, truth.landmarks68))
        if self.face.topology == "bfm53215":
            # The truth's own model: its pose can be taken as it is.
            return posed(self.face, rotation=truth.rotation, scale=1000 * truth.scale, translation=np.array(
                [truth.translation[0] - 1, truth.image_size[1] - truth.translation[1]]))
        return place_in_box(self.face, landmark_box(truth.landmarks68), truth.rotation)

    def close(self) -> None:
        if self.finder is not None:
            self.finder.close()

    def _box(self, sample: MorphableSample, landmarks: np.ndarray) -> np.ndarray:
        if self.finder is None:
            return landmark_box(landmarks)
        from facerecon.data import load_image

        faces = self.finder.find(load_image(sample.image).pixels)
        if not faces:
            raise FaceError("no face was found", code="no_face")
        return np.asarray(faces[0].box, dtype=np.float64)
