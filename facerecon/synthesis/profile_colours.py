"""Colours of the parts of a head that its photo does not show."""

from __future__ import annotations

import numpy as np
import torch

from facerecon.morphable import MorphableModel

# How firmly a vertex keeps the photo's colour, against 1 for each neighbour's.
HOLD = 3.0


def spread_colours(model: MorphableModel, colours: np.ndarray, known: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Colours (V, 3) float32 that go over smoothly from where they are known, along the mesh.

    Args:
        model: gives the mesh.
        colours: (V, 3), the photo's at each vertex.
        known: (V,) in [0, 1], how far each can be trusted.
        members: (V,) bool, the vertices wanted; the others keep `colours` and have no say.
    """
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import spsolve

    index = np.flatnonzero(members)
    out = colours.astype(np.float32).copy()
    if not len(index) or not (known[index] > 0).any():
        return out
    place = np.full(len(members), -1)
    place[index] = np.arange(len(index))
    faces = place[model.faces.cpu().numpy()]
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = pairs[(pairs >= 0).all(axis=1)]
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(index),) * 2)
    graph = graph + graph.T
    degree = np.asarray(graph.sum(axis=1)).ravel()
    hold = HOLD * known[index].astype(np.float64) ** 2
    # A trace of the mean everywhere: parts that nothing known touches have a colour too.
    mean = (colours[index] * hold[:, None]).sum(axis=0) / hold.sum()
    system = (diags(degree + hold + 1e-4) - graph).tocsc()
    out[index] = spsolve(system, hold[:, None] * colours[index] + 1e-4 * mean)
    return out


def vertex_colours(model: MorphableModel, texture: np.ndarray) -> np.ndarray:
    """(V, 3) float32 in [0, 1]: a texture (T, T, 3) uint8 at the vertices; on a seam, one of its sides."""
    size = np.array(texture.shape[1::-1])
    place = np.clip(model.uv.cpu().numpy() * [1, -1] * size + [0, size[1]], 0, size - 1).astype(int)
    out = np.zeros((len(model.mean), 3), np.float32)
    out[model.faces.cpu().numpy()] = texture[place[:, 1], place[:, 0]][model.uv_faces.cpu().numpy()] / np.float32(255)
    return out


def painted(model: MorphableModel) -> torch.Tensor:
    """(V,) float32: 1 where the baked texture completes the photo well, 0 on the neck, whose clothes it does not know."""
    neck = model.masks.get("neck", torch.zeros(len(model.mean), dtype=torch.bool))
    return (~neck).float().cpu()
