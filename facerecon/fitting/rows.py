"""A model's landmark rows in float64 NumPy with their mean normals, computed once per model and scheme."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import torch

from facerecon.checks import check_choice
from facerecon.fitting.gauss_newton import PointBasis
from facerecon.geometry.normals import vertex_normals
from facerecon.morphable.embedding import LandmarkEmbedding
from facerecon.morphable.model import MorphableModel


NORMAL_RADIUS_MM = 8.0


@dataclasses.dataclass(frozen=True)
class LandmarkRows:
    """Landmarks of one scheme.

    Attributes:
        basis: mean, identity and expression rows.
        normals: (N, 3) unit normals of the mean face around the landmarks, model space.
        valid: (N,) bool, False for points that the model does not carry.
    """

    basis: PointBasis
    normals: np.ndarray
    valid: np.ndarray


# A pure cache: rows depend on nothing but the model's arrays and the embedding, which is compared by identity.
_CACHE: weakref.WeakKeyDictionary[MorphableModel, dict[str, tuple[LandmarkEmbedding, LandmarkRows]]] = (
    weakref.WeakKeyDictionary())


def landmark_rows(model: MorphableModel, scheme: str) -> LandmarkRows:
    """The rows of `scheme`, cached; raises ArgumentError `argument_invalid` when the model has no such embedding."""
    check_choice("scheme", scheme, sorted(model.embeddings))
    embedding = model.embeddings[scheme]
    known = _CACHE.setdefault(model, {})
    if scheme not in known or known[scheme][0] is not embedding:
        known[scheme] = (embedding, rows_at(model, embedding))
    return known[scheme][1]


def rows_at(model: MorphableModel, embedding: LandmarkEmbedding) -> LandmarkRows:
    """The rows of any embedding on the model's mesh."""
    corners = model.faces.cpu()[embedding.triangle]

    def blend(vectors: np.ndarray) -> np.ndarray:
        return np.einsum("nk,...nkc->...nc", embedding.barycentric, vectors)

    mean = blend(model.mean.detach().cpu().double().numpy()[corners])
    identity, expression = (blend(basis.detach().cpu()[:, corners].double().numpy()).transpose(1, 2, 0).copy()
                            for basis in (model.identity_basis, model.expression_basis))
    return LandmarkRows(PointBasis(mean, identity, expression), _region_normals(model, mean), embedding.valid.copy())


def _region_normals(model: MorphableModel, points: np.ndarray) -> np.ndarray:
    """(N, 3) unit: the mean normal of the skin around each point. At the rim of a lid or lip the surface itself turns in."""
    from scipy.spatial import cKDTree

    inner = torch.zeros(len(model.mean), dtype=torch.bool)
    for name in ("eyes", "mouth"):
        inner |= model.masks.get(name, torch.zeros_like(inner)).cpu()
    outer = np.flatnonzero(~inner.numpy())
    normals = vertex_normals(model.mean.detach().cpu(), model.faces.cpu()).double().numpy()[outer]
    tree = cKDTree(model.mean.detach().cpu().double().numpy()[outer])
    near = tree.query_ball_point(points, NORMAL_RADIUS_MM)
    closest = tree.query(points)[1]
    sums = np.stack([normals[rows if rows else [row]].sum(axis=0) for rows, row in zip(near, closest)])
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
