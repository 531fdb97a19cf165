"""The PNCC of an annotation: the true geometry of a face, drawn in the colours of a face model's code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from facerecon.data.datasets.sample import MorphableSample
from facerecon.detection import Crop
from facerecon.errors import ModelError
from facerecon.evaluation.synthetic import MODEL_KEY
from facerecon.evaluation.truth import truth_from_sample
from facerecon.gmda import MAP_SIZE

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel


class TruthCodes:
    """Draws the code (128, 128, 3) of a sample's true face in a crop's frame, in [0, 1], background 0.

    A sample of an archive of synthetic faces has parameters of the model: its mesh is drawn as `facerecon pncc` draws it.
    One of AFLW2000-3D has a Basel mesh; its 53,215 vertices take the colours, and the PNCC region, of the places where they lie
    on the open head (`evaluation.topology`), and the mesh hides itself. So a code means the same places in both.

    Args:
        model: the open model, whose code it is.
        basel: a converted Basel model with the coefficients of 300W-LP, for samples of the second kind.

    Raises:
        ModelError: from `load_dense_truth`; when called, `model_missing` for a Basel truth without `basel`, `model_invalid` for
            the truth of another model.
    """

    def __init__(self, model: MorphableModel, basel: str | None = None) -> None:
        import torch

        self._model, self._dense = model, None
        if basel is None:
            return
        from facerecon.evaluation.basel import load_dense_truth, load_model_data
        from facerecon.evaluation.topology import open_to_basel
        from facerecon.morphable.basel.open_head import carry_mask

        self._dense, places = load_dense_truth(basel), open_to_basel()
        shown = carry_mask(model.masks["pncc"].numpy(), places)
        faces = load_model_data(basel).faces
        self._ncc = torch.from_numpy(places.carry(model.ncc.clamp(0, 1).numpy()).astype(np.float32))
        self._faces = torch.from_numpy(np.ascontiguousarray(faces, dtype=np.int64))
        # A triangle with one corner inside counts: at the eyes single corners lie on what the region leaves out.
        self._shown = torch.from_numpy(shown[faces].any(axis=1))

    def __call__(self, sample: MorphableSample, crop: Crop) -> np.ndarray:
        """The code of one sample; `crop` has the place of the square, its size does not matter."""
        crop = dataclasses.replace(crop, size=MAP_SIZE)
        theirs = sample.attributes.get(MODEL_KEY)
        if theirs is None:
            return self._of_basel(sample, crop)
        if theirs != self._model.header["topology_sha256"]:
            raise ModelError(f"{sample.name}: its truth is of another face model than {self._model.name!r}")
        return self._of_model(sample, crop)

    def _of_model(self, sample: MorphableSample, crop: Crop) -> np.ndarray:
        import torch

        from facerecon.data.datasets import camera_from_zhu
        from facerecon.geometry import ScaledOrthographicPose
        from facerecon.detection import pose_to_crop
        from facerecon.render import ambient_light
        from facerecon.views import PhotoView

        model = self._model
        parts = (torch.tensor(values, dtype=torch.float32) for values in (sample.shape_para, sample.exp_para))
        camera = camera_from_zhu(sample.pose_para, sample.image_height)
        pose = pose_to_crop(ScaledOrthographicPose(*(torch.tensor(part, dtype=torch.float32) for part in camera)), crop)
        with torch.no_grad():
            view = PhotoView(model, model.vertices(*parts), model.albedo_mean, ambient_light(), pose, (MAP_SIZE, MAP_SIZE))
        return view.pncc()

    def _of_basel(self, sample: MorphableSample, crop: Crop) -> np.ndarray:
        import torch

        from facerecon.render import interpolate, rasterize

        if self._dense is None:
            raise ModelError("the PNCC of a Basel truth needs a Basel model: --basel MODEL.facemodel (make one with facerecon "
                             "convert-basel)", code="model_missing")
        mesh = crop.to_crop(self._dense.vertices([truth_from_sample(sample)])[0])
        with torch.no_grad():
            fragments = rasterize(torch.from_numpy(mesh).float()[None], self._faces, (MAP_SIZE, MAP_SIZE))
            code = interpolate(fragments, self._ncc, self._faces)[0]
            index = fragments.face_index[0]
            seen = (index >= 0) & self._shown[index.clamp_min(0)]
        return (code * seen[..., None]).numpy()
