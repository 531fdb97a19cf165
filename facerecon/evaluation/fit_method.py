"""This package's own reconstruction as a method of the evaluator."""

from __future__ import annotations

import numpy as np

from facerecon.data.datasets.sample import MorphableSample
from facerecon.evaluation.basel import describe_model, load_model_data, topology_of
from facerecon.evaluation.methods import MethodSpec, landmark_box
from facerecon.evaluation.truth import truth_from_sample


class FitMethod:
    """`facerecon.FaceReconstructor`, on the largest face that the detector finds or on the box of the true landmarks.

    Torch runs on one thread while the method is open: sums then have one order, and results do not depend on the machine's
    load or on the number of workers.
    """

    def __init__(self, spec: MethodSpec) -> None:
        import torch

        from facerecon.morphable.model import MorphableModel
        from facerecon.pipeline import FaceReconstructor

        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        data = load_model_data(spec.model)
        self.spec = spec
        self.topology = topology_of(data) if spec.dense else None
        self._reconstructor = FaceReconstructor(MorphableModel(data), method="fit", stages=spec.stages, texture="none",
                                                faces="largest", seed=spec.seed)
        self.about = {"method": f"fit ({spec.stages})", "model": describe_model(spec.model, data), "crop_from": spec.crop_from,
                      "topology": self.topology, "landmark_depth": True}

    def run(self, sample: MorphableSample) -> dict[str, np.ndarray | None]:
        boxes = None
        if self.spec.crop_from == "gt68":
            boxes = [landmark_box(truth_from_sample(sample).landmarks68).tolist()]
        face = self._reconstructor(sample.image, boxes=boxes)[0]
        scale, rotation = float(face.pose.scale), face.pose.rotation.numpy().astype(np.float64)
        vertices = None
        if self.topology is not None:
            vertices = face.vertices.astype(np.float64) @ (scale * rotation.T)
            vertices[:, :2] += face.pose.translation.numpy()
        return {"landmarks68": face.landmarks68, "rotation": rotation, "vertices": vertices}

    def close(self) -> None:
        import torch

        self._reconstructor.close()
        torch.set_num_threads(self._threads)
