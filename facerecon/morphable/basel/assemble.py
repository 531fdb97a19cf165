"""From what a reader found to the project's one model format."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.checks import check_choice
from facerecon.errors import ArgumentError, ModelError
from facerecon.morphable.basel import atlas, common
from facerecon.morphable.basel.bfm2017 import NAMED_POINTS, NOMOUTH_POINTS, NOMOUTH_VERTICES
from facerecon.morphable.basel.open_head import (
    Places, carry_embedding, carry_mask, closest_on_mesh, mend_places, places_by_landmarks, places_by_registration,
)
from facerecon.morphable.basel.patches import patch_faces, patch_mirror
from facerecon.morphable.embedding import LandmarkEmbedding
from facerecon.morphable.modelcheck import SCHEMA, topology_sha256
from facerecon.morphable.modelfile import ModelData

NCC_RECIPES = ("3ddfa", "3ddfa_v2", "face")
_MASKS = ("skin", "eyes", "mouth", "lips", "ears", "neck", "pncc", "face", "scalp")


def assemble(raw: common.RawModel, open_model: ModelData, *, name: str, ncc: str = "3ddfa",
             noneck: np.ndarray | None = None) -> ModelData:
    """Make a model of one file: winding, landmarks, masks, code, texture coordinates; albedo where the file has none.

    Args:
        open_model: landmarks, masks and missing albedo are carried over from it.
        ncc: recipe of the normalised coordinate code. "3ddfa": mu_shape over all vertices (3DDFA's pncc_code.npy). "3ddfa_v2":
            mu_shape + mu_exp over the region without neck (3DDFA_V2's ncc_code.npy). "face": the model's mean over its own
            face region, as the open model does.
        noneck: numbers of the 38,365 vertices among the 53,215, needed by "3ddfa_v2" unless the file is that model.

    Raises:
        ModelError: `model_invalid`; ArgumentError when the recipe needs what the file does not have.
    """
    check_choice("ncc", ncc, NCC_RECIPES)
    common.check_size(raw.mean_shape, raw.source)
    mean = raw.mean
    count = len(mean)
    faces = patch_faces(mean) if raw.faces is None and count in (common.FULL, common.TRIMMED) else raw.faces
    if faces is None:
        raise ModelError(f"{raw.source}: no triangles, and {count} vertices are no topology whose order is known")
    faces = outward(mean, faces)
    points = _known_points(raw)
    places = mend_places(_places(raw, open_model, points), open_model.masks["eyes"], mean, faces)
    masks = _masks(raw, open_model, places)
    code, masks["pncc"] = _code(raw, mean, masks["pncc"], ncc, noneck)
    uv = _texture_coordinates(raw, mean)
    albedo_mean, albedo_basis, notes = _albedo(raw, open_model, places)
    embeddings = {scheme: carry_embedding(open_model.embeddings[scheme], open_model, places, mean, faces)
                  for scheme in ("mediapipe478", "five") if scheme in open_model.embeddings}
    embeddings["ibug68"] = _landmarks68(raw, open_model, places, faces, points)
    notes = [*raw.notes, *notes,
             "landmarks and masks carried over by " + ("registration" if places.exact else "a spline through landmarks: approximate")]
    header = {
        "schema": SCHEMA, "name": name, "units": "mm", "licence": raw.licence,
        "source": f"facerecon convert-basel from {raw.source}", "expression_range": None,
        "expression_names": [f"exp_{index:03d}" for index in range(len(raw.expression))],
        "topology_sha256": topology_sha256(faces),
        "basel": {
            "kind": raw.kind, "topology": topology_name(count), "file_units": raw.units, "ncc": ncc, "parameters": raw.parameters,
            # coefficient = raw / scale, raw being what the file's own package writes.
            "raw_scale": {"identity": raw.identity_scale.tolist(), "expression": raw.expression_scale.tolist()},
            "notes": notes,
        },
    }
    return ModelData(
        mean=mean.astype(np.float32), faces=faces, identity_basis=raw.identity, expression_basis=raw.expression,
        albedo_mean=albedo_mean.astype(np.float32), albedo_basis=albedo_basis.astype(np.float32), uv=uv.astype(np.float32),
        uv_faces=faces, albedo_texture=atlas.paint_albedo(albedo_mean, uv), symmetry=_mirror(mean), masks=masks,
        embeddings=embeddings, header=header, ncc=code)


def topology_name(count: int) -> str:
    """Name of a topology by its number of vertices, as the evaluator uses it."""
    return f"bfm{count}"


def outward(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The triangles wound counter-clockwise seen from outside.

    A face's normals point to +z on average; Zhu's files are wound the other way round, Deep3D's are not.
    """
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.ascontiguousarray(faces[:, ::-1] if normals[:, 2].sum() < 0 else faces, dtype=np.int64)


def normalised_code(mean: np.ndarray, region: np.ndarray) -> np.ndarray:
    """(V, 3): per axis (m - min) / (max - min) with the range of `region` (V,) bool; clipped to [0, 1] outside it."""
    low, high = mean[region].min(axis=0), mean[region].max(axis=0)
    return np.clip((mean - low) / (high - low), 0, 1).astype(np.float32)


def _code(raw: common.RawModel, mean: np.ndarray, face: np.ndarray, recipe: str,
          noneck: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    everything = np.ones(len(mean), dtype=bool)
    if recipe == "face":
        return normalised_code(mean, face), face
    if recipe == "3ddfa":
        if raw.kind == "noneck_v3":
            raise ArgumentError("ncc: '3ddfa' needs mu_shape alone, and this file holds mu_shape + mu_exp; use '3ddfa_v2' or "
                                "'face'")
        return normalised_code(raw.mean_shape, everything), everything
    if raw.kind == "noneck_v3":
        return normalised_code(mean, everything), everything
    if noneck is None or raw.trimmed is None:
        raise ArgumentError("ncc: '3ddfa_v2' needs the numbers of the 38,365 vertices without neck: give 3DDFA_V2's "
                            "configs/indices.npy, and a file over the 53,215 vertices")
    region = np.isin(raw.trimmed, noneck)
    return normalised_code(mean, region), region


def _known_points(raw: common.RawModel) -> dict[int, np.ndarray]:
    """iBUG-68 points of the mean face that the file knows: {number: (3,) mm}."""
    if raw.keypoints is not None:
        return {number: raw.mean[vertex] for number, vertex in enumerate(raw.keypoints)}
    if raw.kind == "bfm2017" and len(raw.mean) == NOMOUTH_VERTICES:
        return {number: raw.mean[vertex] for number, vertex in NOMOUTH_POINTS.items()}
    return {NAMED_POINTS[name]: point for name, point in raw.landmarks.items() if name in NAMED_POINTS}


def _places(raw: common.RawModel, open_model: ModelData, points: dict[int, np.ndarray]) -> Places:
    if raw.trimmed is not None:
        return places_by_registration(open_model, raw.trimmed, raw.mean)
    return places_by_landmarks(open_model, raw.mean, points)


def _masks(raw: common.RawModel, open_model: ModelData, places: Places) -> dict[str, np.ndarray]:
    masks = {name: carry_mask(open_model.masks[name], places) for name in _MASKS if name in open_model.masks}
    if "pncc" not in masks:
        raise ModelError("the open model has no mask pncc; it is not the one of this version")
    masks.update(raw.masks)
    return masks


def _landmarks68(raw: common.RawModel, open_model: ModelData, places: Places, faces: np.ndarray,
                 points: dict[int, np.ndarray]) -> LandmarkEmbedding:
    """Exact vertices where the file names them; known places and the open model's points elsewhere."""
    if raw.keypoints is not None:
        return at_vertices(raw.keypoints, faces, len(raw.mean))
    carried = carry_embedding(open_model.embeddings["ibug68"], open_model, places, raw.mean, faces)
    numbers = sorted(points)
    triangle, barycentric = closest_on_mesh(np.stack([points[number] for number in numbers]), raw.mean, faces)
    carried.triangle[numbers], carried.barycentric[numbers] = triangle, barycentric
    return carried


def at_vertices(vertices: np.ndarray, faces: np.ndarray, count: int) -> LandmarkEmbedding:
    """Points that are vertices: the first triangle with that corner, and weight 1 there.

    Raises:
        ModelError: a vertex belongs to no triangle.
    """
    corner = np.full(count, -1, dtype=np.int64)
    flat = faces.reshape(-1)
    corner[flat[::-1]] = np.arange(len(flat))[::-1]
    place = corner[vertices]
    if (place < 0).any():
        raise ModelError(f"keypoint {int(np.argmax(place < 0))} (vertex {vertices[np.argmax(place < 0)]}) belongs to no triangle")
    barycentric = np.zeros((len(vertices), 3))
    barycentric[np.arange(len(vertices)), place % 3] = 1.0
    return LandmarkEmbedding(place // 3, barycentric)


def _albedo(raw: common.RawModel, open_model: ModelData, places: Places) -> tuple[np.ndarray, np.ndarray, list[str]]:
    if raw.texture_mean is not None and raw.texture_basis is not None:
        return raw.texture_mean, raw.texture_basis, []
    basis = places.carry(open_model.albedo_basis)
    if raw.texture_mean is not None:
        return raw.texture_mean, basis, ["the texture has no deviations: its components are the open model's (CC0)"]
    return places.carry(open_model.albedo_mean), basis, ["albedo carried over from the open model (CC0)"]


def _texture_coordinates(raw: common.RawModel, mean: np.ndarray) -> np.ndarray:
    if raw.uv is not None:
        return raw.uv
    if len(mean) == common.FULL:
        return atlas.full_patch_uv()
    if raw.trimmed is not None:
        return atlas.patch_uv(raw.trimmed)
    return atlas.cylinder_uv(mean)


def _mirror(mean: np.ndarray) -> np.ndarray:
    if len(mean) in (common.FULL, common.TRIMMED):
        return patch_mirror(len(mean))
    import scipy.spatial

    return scipy.spatial.cKDTree(mean).query(mean * (-1.0, 1.0, 1.0))[1].astype(np.int64)


def with_components(raw: common.RawModel, identity: int | None, expression: int | None) -> common.RawModel:
    """The model with its first `identity` and `expression` components; None keeps all."""
    return dataclasses.replace(raw, identity=raw.identity[:identity], identity_scale=raw.identity_scale[:identity],
                               expression=raw.expression[:expression], expression_scale=raw.expression_scale[:expression])
