"""Zhu's 3DDFA and HPEN package: Model_Shape.mat and Model_Exp.mat (53,215 vertices, 199 + 29 components, micrometres).

Traps: the shape basis `w` has unit columns and Shape_Para is raw, so coefficients are multiplied by `sigma` for N(0,1); w_exp
already carries micrometres and Exp_Para is of order one and is not to be divided by anything in the file; `sigma_exp.mat`, where
it turns up, holds an inverse deviation in thousandths; indices count from 1; triangles are wound inward; mu_exp belongs to the
mean; copies call the basis `w_shape`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.errors import ModelError
from facerecon.morphable.basel import common
from facerecon.morphable.basel.files import load_mat


def read_zhu(shape_path: str | os.PathLike[str], expression_path: str | os.PathLike[str], *,
             sigma_exp_path: str | os.PathLike[str] | None = None) -> common.RawModel:
    """Read Model_Shape.mat and Model_Exp.mat (or Model_Expression.mat); `sigma_exp_path` gives the expressions a deviation."""
    where = Path(shape_path).name
    shape = load_mat(shape_path)
    mean_shape = common.vertices_of("mu_shape", common.entry(shape, ("mu_shape",), where), where) * common.MICROMETRE
    count = len(mean_shape)
    if "w" not in shape and "w_shape" not in shape and "tri" in shape:
        raise ModelError(f"{where} has a mean and no basis: this is Model_Shape_Sim.mat; give Model_Shape.mat")
    basis = common.basis_of("w", common.entry(shape, ("w", "w_shape"), where), where, count=count)
    common.check_unit_columns("w", basis, where)
    sigma = common.deviations_of("sigma", common.entry(shape, ("sigma", "sigma_shape"), where), where, at_least=len(basis))
    keypoints = common.keypoints_of("keypoints", common.entry(shape, ("keypoints",), where), where, count=count, base=1)
    faces = common.faces_of("tri", common.entry(shape, ("tri",), where), where, count=count)

    beside = Path(expression_path).name
    expression = load_mat(expression_path)
    mean_expression = common.vertices_of("mu_exp", common.entry(expression, ("mu_exp",), beside), beside, count=count)
    moves = common.basis_of("w_exp", common.entry(expression, ("w_exp",), beside), beside, count=count)
    common.check_not_shape_twice(basis, moves, beside)
    spread = np.ones(len(moves))
    notes = []
    if sigma_exp_path is not None:
        name = Path(sigma_exp_path).name
        inverse = common.deviations_of("sigma_exp", common.entry(load_mat(sigma_exp_path), ("sigma_exp",), name), name,
                                       at_least=len(moves))
        spread = 1 / (1000 * inverse)
        notes.append(f"expression deviations from {name}: {spread[0]:.3g}, {spread[1:2].sum():.3g}, ...")
    else:
        notes.append("expression coefficients are Exp_Para itself (no sigma_exp.mat was given)")
    texture = (None, None)
    if "mu_tex" in shape:
        tint = common.vertices_of("mu_tex", shape["mu_tex"], where, count=count)
        wave = common.basis_of("w_tex", shape["w_tex"], where, count=count) if "w_tex" in shape else None
        deviations = common.deviations_of("sigma_tex", shape["sigma_tex"], where, at_least=len(wave)) \
            if wave is not None and "sigma_tex" in shape else None
        texture = common.texture_of(tint, wave, deviations, 255.0)
    return common.RawModel(
        kind="zhu", source=f"{where}, {beside}", units="micrometres (by the package)", mean_shape=mean_shape,
        mean_expression=mean_expression * common.MICROMETRE, identity=common.scaled(basis, sigma * common.MICROMETRE),
        expression=common.scaled(moves, spread * common.MICROMETRE), identity_scale=sigma, expression_scale=spread,
        parameters="zhu", faces=faces, keypoints=keypoints, trimmed=common.trimmed_index(count, None, where),
        texture_mean=texture[0], texture_basis=texture[1], notes=tuple(notes))
