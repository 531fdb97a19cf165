"""A trained encoder as a method of the evaluator: one forward pass per face, with or without a PNCC."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facerecon.data.datasets.sample import MorphableSample
from facerecon.errors import ArgumentError, FaceError
from facerecon.evaluation.basel import describe_model, load_model_data, topology_of
from facerecon.evaluation.methods import MethodSpec, landmark_box
from facerecon.evaluation.truth import truth_from_sample
from facerecon.files import sha256_file

# The PNCC is drawn from the annotation: what a perfect PNCC network would give.
TRUE_PNCC = "truth"


class EncoderMethod:
    """`facerecon.mofa.EncoderPredictor` on the square around the true landmarks, or on the detector's largest face.

    Landmarks, mesh and rotation are those of the scaled orthographic pose in px of the photo. Torch runs on one thread while
    the method is open, so that results do not depend on the number of workers.

    Args:
        spec: `weights` is the encoder's file. `pncc`: for an encoder of six channels the weights of a PNCC network, or "truth"
            for the code that is drawn from the annotation (`TruthCodes`, which needs `basel` where the truth is a Basel face).

    Raises:
        ArgumentError: no weights; a PNCC for an encoder that takes none, or none for one that does.
        ModelError: as of `load_encoder`, `PnccPredictor.load` and `EncoderPredictor`.
    """

    def __init__(self, spec: MethodSpec) -> None:
        import torch

        from facerecon.mofa import EncoderPredictor, load_encoder
        from facerecon.morphable.model import MorphableModel

        if spec.weights is None:
            raise ArgumentError("method encoder: wanted the weights of an encoder (--weights), got none")
        data = load_model_data(spec.model)
        self._model, file = MorphableModel(data), load_encoder(spec.weights)
        if file.encoder.uses_pncc != (spec.pncc is not None):
            kind, wanted = ("with", "weights of a PNCC network, or truth") if file.encoder.uses_pncc else ("without", "none")
            raise ArgumentError(f"pncc: {spec.weights} is an encoder {kind} PNCC input; wanted {wanted}, got {spec.pncc}")
        self.spec, self._finder = spec, None
        self._codes = None
        if spec.pncc == TRUE_PNCC:
            from facerecon.evaluation.truth_code import TruthCodes

            self._codes = TruthCodes(self._model, spec.basel)
        self._predictor = EncoderPredictor(self._model, file, pncc=_network(spec.pncc))
        if spec.crop_from == "detector":
            from facerecon.detection import FaceFinder

            self._finder = FaceFinder()
        self.topology = topology_of(data) if spec.dense else None
        self.about = {"method": _title(spec), "model": describe_model(spec.model, data), "crop_from": spec.crop_from,
                      "topology": self.topology, "landmark_depth": True}
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def run(self, sample: MorphableSample) -> dict[str, np.ndarray | None]:
        """The arrays of one prediction; raises FaceError `no_face`, and what `EncoderPredictor.predict` raises."""
        from facerecon.data import load_image

        pixels = load_image(sample.image).pixels
        box, kind = self._box(sample, pixels)
        code = None
        if self._codes is not None:
            crop = self._predictor.facts.crop.crop(box, size=self._predictor.image_size, box_of=kind)
            code = self._codes(sample, crop)
        found = self._predictor.predict(pixels, box, box_of=kind, pncc=code).parameters
        pose = found.pose
        landmarks = pose.project(self._model.landmarks("ibug68", found.identity, found.expression))
        vertices = None
        if self.topology is not None:
            vertices = pose.project(self._model.vertices(found.identity, found.expression)).detach().numpy()
        return {"landmarks68": landmarks.detach().numpy(), "vertices": vertices,
                "rotation": pose.rotation.numpy().astype(np.float64)}

    def close(self) -> None:
        import torch

        if self._finder is not None:
            self._finder.close()
        torch.set_num_threads(self._threads)

    def _box(self, sample: MorphableSample, pixels: np.ndarray) -> tuple[np.ndarray, str]:
        if self._finder is None:
            return landmark_box(truth_from_sample(sample).landmarks68), "points"
        faces = self._finder.find(pixels)
        if not faces:
            raise FaceError("no face was found", code="no_face")
        return np.asarray(faces[0].box, dtype=np.float64), "detector"


def _network(pncc: str | None):
    if pncc is None or pncc == TRUE_PNCC:
        return None
    from facerecon.pncc import PnccPredictor

    return PnccPredictor.load(pncc)


def _title(spec: MethodSpec) -> str:
    """Files by the first digits of their hashes: their paths are this machine's."""
    title = f"encoder ({sha256_file(Path(spec.weights))[:8]})"
    if spec.pncc is None:
        return title
    if spec.pncc != TRUE_PNCC:
        return f"{title}, PNCC of a network ({sha256_file(Path(spec.pncc))[:8]})"
    basel = "" if spec.basel is None else f" (Basel {sha256_file(Path(spec.basel))[:8]})"
    return f"{title}, PNCC of the truth{basel}"
