"""01_MorphableModel.mat: the Basel Face Model 2009 (Paysan et al., AVSS 2009), 53,490 vertices, micrometres.

Traps: `shapeEV` and `texEV` are standard deviations, not variances; `tl` counts from 1; texture is 0 to 255; there are no
expressions. With Exp_Pca.bin the model is cut to the 53,215 vertices that those expressions have, which opens the mouth.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.errors import ModelError
from facerecon.morphable.basel import common
from facerecon.morphable.basel.exp_pca import read_exp_pca
from facerecon.morphable.basel.files import load_mat
from facerecon.morphable.basel.patches import trim_index

# Below this a first deviation cannot be micrometres along a unit vector of 160,470 numbers.
_LEAST_DEVIATION = 1e4


def read_bfm2009(path: str | os.PathLike[str], *, expression: str | os.PathLike[str] | None = None,
                 deviations: str | os.PathLike[str] | None = None, add_mean_expression: bool = False) -> common.RawModel:
    """Read the model of 2009, alone or with Exp_Pca.bin (`expression`) and std_exp.txt (`deviations`).

    Args:
        add_mean_expression: add the mean of Exp_Pca.bin to the mean face. Deep3DFaceRecon leaves it out, and so do we.
    """
    where = Path(path).name
    if (expression is None) != (deviations is None):
        raise ModelError(f"{where}: Exp_Pca.bin and std_exp.txt belong together; give both or none")
    values = load_mat(path)
    mean = common.vertices_of("shapeMU", common.entry(values, ("shapeMU",), where), where) * common.MICROMETRE
    count = len(mean)
    basis = common.basis_of("shapePC", common.entry(values, ("shapePC",), where), where, count=count)
    common.check_unit_columns("shapePC", basis, where)
    sigma = common.deviations_of("shapeEV", common.entry(values, ("shapeEV",), where), where, at_least=len(basis))
    if len(sigma) and sigma[0] < _LEAST_DEVIATION:
        raise ModelError(f"{where}: shapeEV begins with {sigma[0]:g}; wanted standard deviations in micrometres")
    faces = common.faces_of("tl", common.entry(values, ("tl",), where), where, count=count)
    tint = common.vertices_of("texMU", common.entry(values, ("texMU",), where), where, count=count)
    wave = common.basis_of("texPC", common.entry(values, ("texPC",), where), where, count=count)
    spread = common.deviations_of("texEV", common.entry(values, ("texEV",), where), where, at_least=len(wave))
    texture_mean, texture_basis = common.texture_of(tint, wave, spread, 255.0)
    identity = common.scaled(basis, sigma * common.MICROMETRE)
    del basis, wave, values

    source, notes = where, []
    kept = np.arange(count)
    mean_expression, moves, moves_scale = None, np.zeros((0, count, 3), np.float32), np.zeros(0)
    if expression is None:
        notes.append("no expressions: give Exp_Pca.bin and std_exp.txt to get 79")
    else:
        if count == common.FULL:
            kept = trim_index()
        average, moves, moves_scale = read_exp_pca(expression, deviations, vertex_count=len(kept))
        mean_expression = average if add_mean_expression else None
        source += f", {Path(expression).name}"
        notes.append(f"the mean of Exp_Pca.bin is {'added to' if add_mean_expression else 'not part of'} the mean face")
    keypoints = None
    if count in (common.FULL, common.TRIMMED):
        keypoints = common.KEYPOINTS if len(kept) == common.TRIMMED else trim_index()[common.KEYPOINTS]
    if len(kept) < count:
        local = np.full(count, -1, dtype=np.int64)
        local[kept] = np.arange(len(kept))
        faces = local[faces]
        faces = faces[(faces >= 0).all(axis=1)]
        mean, identity = mean[kept], identity[:, kept]
        texture_mean, texture_basis = texture_mean[kept], texture_basis[:, kept]
    return common.RawModel(
        kind="bfm2009", source=source, units="micrometres (by the release)", mean_shape=mean, mean_expression=mean_expression,
        identity=identity, expression=moves, identity_scale=sigma, expression_scale=moves_scale, faces=faces, keypoints=keypoints,
        trimmed=common.trimmed_index(len(kept), None, where), texture_mean=texture_mean, texture_basis=texture_basis,
        notes=tuple(notes))
