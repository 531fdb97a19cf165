"""Basel Face Models 2017 and 2019 (Gerig et al., FG 2018) and the 2009 model's export, as Statismo .h5 files.

Traps: `pcaVariance` holds variances, so bases are multiplied by the root, unless the export did so already; millimetres and
colours from 0 to 1 (the export of 2009: micrometres and 0 to 255); cells are (3, F) from 0; the topology has nothing to do with
that of 2009, so landmarks come from the named places in the file, and coefficients of 300W-LP do not fit.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from facerecon.errors import ModelError
from facerecon.morphable.basel import common
from facerecon.morphable.basel.files import load_h5

_GROUPS = ("shape", "color", "expression")
_PARTS = ("model/mean", "model/pcaBasis", "model/pcaVariance", "representer/points", "representer/cells")
_LANDMARKS = "metadata/landmarks/json"
# Places that the 2017 file names, as iBUG-68 points; "right" is the subject's.
NAMED_POINTS = {
    "center.chin.tip": 8, "center.nose.tip": 30, "right.eye.corner_outer": 36, "right.eye.corner_inner": 39,
    "left.eye.corner_inner": 42, "left.eye.corner_outer": 45, "right.lips.corner": 48, "center.lips.upper.outer": 51,
    "left.lips.corner": 54, "center.lips.lower.outer": 57, "center.lips.upper.inner": 62, "center.lips.lower.inner": 66,
}
# iBUG-68 point -> vertex of model2017-1_bfm_nomouth, as published with eos (Apache-2.0).
NOMOUTH_VERTICES = 53149
NOMOUTH_POINTS = {
    8: 47846, 30: 8156, 36: 2602, 39: 5830, 42: 10390, 45: 13481, 48: 5522, 49: 6026, 50: 7355, 51: 8181, 52: 9007, 53: 10329,
    54: 10857, 55: 9730, 56: 8670, 57: 8199, 58: 7726, 59: 6898, 60: 6291, 61: 7364, 62: 8190, 63: 9016, 64: 10088, 65: 8663,
    66: 8191, 67: 7719,
}


def read_bfm2017(path: str | os.PathLike[str]) -> common.RawModel:
    """Read a Statismo .h5 with the groups shape, color and (2017, 2019) expression."""
    where = Path(path).name
    values = load_h5(path, tuple(f"{group}/{part}" for group in _GROUPS for part in _PARTS), (_LANDMARKS,))
    for name in ("shape/model/mean", "shape/model/pcaBasis", "shape/model/pcaVariance"):
        common.entry(values, (name,), where)
    mean = common.vertices_of("shape/model/mean", values["shape/model/mean"], where)
    count = len(mean)
    # The release of 2009 counts in micrometres, those of 2017 and 2019 in millimetres; a head tells them apart.
    micrometres = np.ptp(mean[:, 1]) > 1e4
    unit = common.MICROMETRE if micrometres else 1.0
    identity, identity_scale = _component(values, "shape", where, count)
    moves, moves_scale, mean_expression = np.zeros((0, count, 3), np.float32), np.zeros(0), None
    if "expression/model/pcaBasis" in values:
        moves, moves_scale = _component(values, "expression", where, count)
        mean_expression = unit * common.vertices_of(
            "expression/model/mean", common.entry(values, ("expression/model/mean",), where), where, count=count)
    texture_mean = texture_basis = None
    if "color/model/mean" in values:
        texture_mean = common.vertices_of("color/model/mean", values["color/model/mean"], where, count=count)
        divisor = 255.0 if texture_mean.max() > 2 else 1.0
        wave, spread = _component(values, "color", where, count)
        texture_mean, texture_basis = texture_mean / divisor, common.scaled(wave, np.full(len(wave), 1 / divisor))
    cells = common.entry(values, ("shape/representer/cells", "color/representer/cells"), where)
    faces = common.faces_of("representer/cells", cells if cells.shape[0] == 3 else cells.T, where, count=count)
    landmarks = {name: point * unit for name, point in _landmarks(values.get(_LANDMARKS), where).items()}
    notes = [f"unit by the size of the head: {'micrometres' if micrometres else 'millimetres'}"]
    if mean_expression is None:
        notes.append("no expressions in the file")
    return common.RawModel(
        kind="bfm2017", source=where, units="micrometres (by size)" if micrometres else "millimetres (by size)",
        mean_shape=mean * unit, mean_expression=mean_expression, identity=common.scaled(identity, np.full(len(identity), unit)),
        expression=common.scaled(moves, np.full(len(moves), unit)), identity_scale=identity_scale,
        expression_scale=moves_scale, faces=faces,
        keypoints=common.KEYPOINTS if count == common.TRIMMED else None, landmarks=landmarks,
        trimmed=common.trimmed_index(count, None, where) if micrometres else None,
        texture_mean=texture_mean, texture_basis=texture_basis, notes=tuple(notes))


def _component(values: dict, group: str, where: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A group's components per standard deviation (K, V, 3), and its deviations (K,)."""
    basis = common.basis_of(f"{group}/model/pcaBasis", values[f"{group}/model/pcaBasis"], where, count=count)
    variance = common.entry(values, (f"{group}/model/pcaVariance",), where)
    deviations = np.sqrt(common.deviations_of(f"{group}/model/pcaVariance", variance, where, at_least=len(basis)))
    length = np.sqrt(np.einsum("kvc,kvc->k", basis, basis, dtype=np.float64))
    if np.abs(length - 1).max(initial=0) < 0.1:
        return common.scaled(basis, deviations), deviations
    if np.abs(length / deviations - 1).max(initial=0) < 0.1:
        return np.asarray(basis, dtype=np.float32), deviations
    raise ModelError(f"{where}: {group}/model/pcaBasis: wanted components of length 1, or of length sqrt(pcaVariance), got "
                     f"{length.min():.3g} to {length.max():.3g}")


def _landmarks(text: str | None, where: str) -> dict[str, np.ndarray]:
    if not text:
        return {}
    try:
        entries = json.loads(text)
        return {str(item["id"]): common.finite("landmark", np.array(item["coordinates"], dtype=np.float64).reshape(3), where)
                for item in entries}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise common.corrupt(f"{where}: {_LANDMARKS}: wanted a list of id and coordinates ({error})") from error
