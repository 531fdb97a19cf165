"""Archives of synthetic faces as a benchmark: the same samples, truths and figures as on AFLW2000-3D."""

from __future__ import annotations

import functools
import os

import numpy as np

from facerecon.data.datasets.dataset import FaceDataset, Inventory
from facerecon.data.datasets.sample import MorphableSample
from facerecon.errors import ModelError
from facerecon.evaluation.truth import DenseTruth

# In a sample's attributes: topology hash of the model that its parameters belong to; AFLW2000-3D's samples have none.
MODEL_KEY = "model_topology"


def read_synthetic(folder: str | os.PathLike[str]) -> FaceDataset:
    """An archive that `facerecon synthesise` wrote, as samples whose parameters are those of the open model.

    `shape_para` (K,) and `exp_para` (E,) are the model's coefficients, `pose_para` the pose in AFLW2000-3D's form (scale in
    px/um, as there), `landmarks` (68, 3) the model's points under it, depth growing toward the viewer, `image` the pixels
    (S, S, 3). All pictures are read at once.

    Raises:
        DatasetError, ModelError: as of `read_archive`; ModelError `model_invalid` for the faces of another model.
    """
    import torch

    from facerecon.data.datasets.zhu import zhu_from_camera
    from facerecon.geometry import ScaledOrthographicPose
    from facerecon.morphable.model import load_model
    from facerecon.synthesis import read_archive

    archive, model = read_archive(folder), load_model("open")
    theirs = archive.header["about"].get("model", {})
    if theirs.get("topology_sha256") != model.header["topology_sha256"]:
        raise ModelError(f"{folder}: its parameters are of the model {theirs.get('name')!r}; wanted those of {model.name!r}")
    truth = {name: torch.from_numpy(np.array(archive.truth[name])) for name in ("identity", "expression", "rotation",
                                                                               "translation", "scale")}
    with torch.no_grad():
        pose = ScaledOrthographicPose(truth["rotation"], truth["translation"], truth["scale"])
        points = pose.project(model.landmarks("ibug68", truth["identity"], truth["expression"])).numpy().astype(np.float64)
    names = [os.path.splitext(name)[0] for name in archive.names]

    def load(index: int) -> MorphableSample:
        row = {name: value[index].numpy().astype(np.float64) for name, value in truth.items()}
        return MorphableSample(
            name=names[index], image=archive.images[index], scheme="ibug68", landmarks=points[index] * [1, 1, -1],
            shape_para=row["identity"], exp_para=row["expression"], image_height=archive.size,
            pose_para=zhu_from_camera(row["rotation"], row["translation"], float(row["scale"]), archive.size),
            attributes={MODEL_KEY: theirs["topology_sha256"]})

    inventory = Inventory("synthetic faces", (("pictures", len(names), None),))
    return FaceDataset("synthetic", names, load, inventory)


@functools.lru_cache(maxsize=1)
def open_dense_truth() -> DenseTruth:
    """The dense truth of `read_synthetic`: the open model's mesh at the places of the 53,215 Basel vertices.

    Truth and predictions in the open topology are carried there by one fixed map (`evaluation.topology`), so a perfect
    prediction scores 0, and figures are over the same points of the face as on AFLW2000-3D.
    """
    from facerecon.evaluation.basel import load_model_data
    from facerecon.evaluation.topology import open_to_basel
    from facerecon.morphable.basel.common import KEYPOINTS

    data, places = load_model_data("open"), open_to_basel()

    def carried(basis: np.ndarray) -> np.ndarray:
        # One coefficient at a time: three corners of all of them would be half a gigabyte.
        return np.stack([places.carry(np.asarray(part, dtype=np.float64)).astype(np.float32) for part in basis])

    identity, expression = carried(data.identity_basis), carried(data.expression_basis)
    return DenseTruth(mean=places.carry(data.mean.astype(np.float64)), identity=identity, expression=expression,
                      keypoints=KEYPOINTS, title=f"{data.header['name']}, all {len(identity)} + {len(expression)}")
