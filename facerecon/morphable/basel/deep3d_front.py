"""BFM_model_front.mat of Deep3DFaceReconstruction (Deng et al., CVPRW 2019): 35,709 vertices, 80 + 64 components, 80 of texture.

Traps: decimetres; the deviations are multiplied into the bases already, so coefficients are N(0,1); indices count from 1 and are
stored as floats in old copies; triangles are wound outward, unlike Zhu's. The authors subtract the mean vertex when they load;
here the face stays in the Basel frame, which changes the translation only.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.morphable.basel import common
from facerecon.morphable.basel.files import load_mat


def read_deep3d_front(path: str | os.PathLike[str], *, index_path: str | os.PathLike[str] | None = None) -> common.RawModel:
    """Read the model; `index_path` is BFM_front_idx.mat (`idx`), each vertex's number among the 53,215 from 1."""
    where = Path(path).name
    values = load_mat(path)
    mean = common.vertices_of("meanshape", common.entry(values, ("meanshape",), where), where) * common.DECIMETRE
    count = len(mean)
    identity = common.basis_of("idBase", common.entry(values, ("idBase",), where), where, count=count)
    moves = common.basis_of("exBase", common.entry(values, ("exBase",), where), where, count=count)
    tint = common.vertices_of("meantex", common.entry(values, ("meantex",), where), where, count=count)
    wave = common.basis_of("texBase", common.entry(values, ("texBase",), where), where, count=count)
    texture_mean, texture_basis = common.texture_of(tint, wave, np.ones(len(wave)), 255.0)
    faces = common.faces_of("tri", common.entry(values, ("tri",), where), where, count=count)
    keypoints = common.keypoints_of("keypoints", common.entry(values, ("keypoints",), where), where, count=count, base=1)
    index = None
    if index_path is not None:
        name = Path(index_path).name
        index = common.entry(load_mat(index_path), ("idx",), name).reshape(-1)
        index = common.indices_of("idx", index, name, count=common.TRIMMED, base=1)
    masks = {}
    if "skinmask" in values and np.size(values["skinmask"]) == count:
        masks["skin"] = np.asarray(values["skinmask"]).reshape(-1) > 0
    return common.RawModel(
        kind="deep3d", source=where, units="decimetres (by the release)", mean_shape=mean, mean_expression=None,
        identity=common.scaled(identity, np.full(len(identity), common.DECIMETRE)),
        expression=common.scaled(moves, np.full(len(moves), common.DECIMETRE)), identity_scale=np.ones(len(identity)),
        expression_scale=np.ones(len(moves)), faces=faces, keypoints=keypoints,
        trimmed=common.trimmed_index(count, index, where), texture_mean=texture_mean, texture_basis=texture_basis, masks=masks)
