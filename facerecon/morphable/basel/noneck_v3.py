"""bfm_noneck_v3.pkl of 3DDFA_V2 (Guo et al., ECCV 2020): 38,365 vertices without neck and ears' backs, micrometres.

Traps: a pickle, read here by an unpickler that knows arrays only; `u` is mean shape and mean expression together; coefficients
are raw, and their deviations are in another pickle; keypoints are 204 interleaved coordinates; the triangles inside are not the
ones that the package uses (configs/tri.pkl is).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.errors import ModelError
from facerecon.morphable.basel import common
from facerecon.morphable.basel.files import load_npy, load_pickle
from facerecon.morphable.basel.whitening import FITTED_EXPRESSION, FITTED_SHAPE, read_whitening


def read_noneck_v3(path: str | os.PathLike[str], *, triangles_path: str | os.PathLike[str] | None = None,
                   index_path: str | os.PathLike[str] | None = None,
                   whitening_path: str | os.PathLike[str] | None = None) -> common.RawModel:
    """Read the model.

    Args:
        triangles_path: configs/tri.pkl; without it the model's own triangles are taken.
        index_path: configs/indices.npy, each vertex's number among the 53,215, from 0.
        whitening_path: configs/param_mean_std_62d_120x120.pkl, the deviations of 40 shape and 10 expression coefficients;
            without it those of 300W-LP are taken. Components beyond are left out, since their deviations are unknown.
    """
    where = Path(path).name
    values = load_pickle(path)
    if not isinstance(values, dict):
        raise common.corrupt(f"{where}: wanted a dictionary, got {type(values).__name__}")
    mean = common.vertices_of("u", common.entry(values, ("u",), where), where) * common.MICROMETRE
    count = len(mean)
    basis = common.basis_of("w_shp", common.entry(values, ("w_shp",), where), where, count=count)
    moves = common.basis_of("w_exp", common.entry(values, ("w_exp",), where), where, count=count)
    common.check_not_shape_twice(basis, moves, where)
    keypoints = common.keypoints_of("keypoints", common.entry(values, ("keypoints",), where), where, count=count, base=0)
    notes = []
    if whitening_path is None:
        shape_scale, expression_scale = FITTED_SHAPE, FITTED_EXPRESSION
        notes.append("deviations of the coefficients are those of the fits of 300W-LP")
    else:
        shape_scale, expression_scale = read_whitening(whitening_path)
    kept, kept_moves = min(len(basis), len(shape_scale)), min(len(moves), len(expression_scale))
    if kept < len(basis) or kept_moves < len(moves):
        notes.append(f"kept {kept} of {len(basis)} shape and {kept_moves} of {len(moves)} expression components: no deviations "
                     f"are known for the others")
    if triangles_path is None:
        faces = common.faces_of("tri", common.entry(values, ("tri",), where), where, count=count)
        notes.append("triangles are those inside the pickle; give configs/tri.pkl for the ones that 3DDFA_V2 uses")
    else:
        name = Path(triangles_path).name
        stored = load_npy(triangles_path) if name.endswith(".npy") else load_pickle(triangles_path)
        if not isinstance(stored, np.ndarray):
            raise common.corrupt(f"{name}: wanted an array, got {type(stored).__name__}")
        faces = common.faces_of("tri", stored, name, count=count)
    index = None
    if index_path is not None:
        index = common.indices_of("indices", load_npy(index_path).reshape(-1), Path(index_path).name, count=common.TRIMMED, base=0)
    if len(shape_scale) and np.linalg.norm(basis[0].astype(np.float64)) < 1e-3:
        raise ModelError(f"{where}: w_shp has no length; wanted raw components")
    return common.RawModel(
        kind="noneck_v3", source=where, units="micrometres (by the package)", mean_shape=mean, mean_expression=None,
        identity=common.scaled(basis[:kept], shape_scale[:kept] * common.MICROMETRE),
        expression=common.scaled(moves[:kept_moves], expression_scale[:kept_moves] * common.MICROMETRE),
        identity_scale=shape_scale[:kept], expression_scale=expression_scale[:kept_moves], parameters="zhu", faces=faces,
        keypoints=keypoints, trimmed=common.trimmed_index(count, index, where), notes=tuple(notes))
