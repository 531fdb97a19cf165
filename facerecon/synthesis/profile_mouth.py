"""A lid over the mouth: the photo shows teeth and tongue as a picture, and a picture wants a surface."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import torch

from facerecon.morphable import MorphableModel

# The lid's middle lies this far behind the lips, about where the teeth are.
BEHIND_LIPS_MM = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class LiddedMesh:
    """The model's mesh without the inside of the mouth, and with a fan of triangles between the lips instead.

    Attributes:
        faces: (F', 3) int64; the lid has R + 1 vertices of its own after the model's V: the rim's, and its middle.
        uv_faces: (F', 3) int64 into the model's texture coordinates; the lid's are of no use.
        rim: (R,) int64, the model's vertices around the lid; empty without one.
    """

    faces: torch.Tensor
    uv_faces: torch.Tensor
    rim: torch.Tensor

    def extended(self, values: torch.Tensor) -> torch.Tensor:
        """Vertex values (V, C) with rows for the lid: (V + R + 1, C), or as they are without one; the middle has the mean."""
        return torch.cat([values, values[self.rim], values[self.rim].mean(0, keepdim=True)]) if len(self.rim) else values

    def shape(self, vertices: torch.Tensor) -> torch.Tensor:
        """Vertices (V, 3) mm with those of the lid, whose middle is behind the lips."""
        points = self.extended(vertices)
        if len(self.rim):
            points[-1, 2] -= BEHIND_LIPS_MM
        return points


_CACHE: weakref.WeakKeyDictionary[MorphableModel, LiddedMesh] = weakref.WeakKeyDictionary()


def lidded_mesh(model: MorphableModel) -> LiddedMesh:
    """The mesh with its mouth covered, on the CPU; cached. A model without the mask `mouth`, or whose mouth is no hole, is
    left as it is."""
    if model not in _CACHE:
        _CACHE[model] = _lidded(model)
    return _CACHE[model]


def _lidded(model: MorphableModel) -> LiddedMesh:
    faces, uv_faces = model.faces.cpu(), model.uv_faces.cpu()
    mouth = model.masks.get("mouth")
    if mouth is None:
        return LiddedMesh(faces, uv_faces, torch.zeros(0, dtype=torch.int64))
    inner = mouth.cpu()[faces].all(1)
    loop = _rim(faces[~inner].numpy(), faces[inner].numpy())
    if loop is None:
        return LiddedMesh(faces, uv_faces, torch.zeros(0, dtype=torch.int64))
    own = len(model.mean) + np.arange(len(loop))
    lid = torch.from_numpy(np.column_stack([own, np.roll(own, -1), np.full(len(loop), own[-1] + 1)]))
    blank = torch.zeros_like(lid) + uv_faces[~inner][0, 0]
    return LiddedMesh(torch.cat([faces[~inner], lid]), torch.cat([uv_faces[~inner], blank]), torch.from_numpy(loop))


def _rim(outside: np.ndarray, inside: np.ndarray) -> np.ndarray | None:
    """(R,) the longest loop of edges between two sets of triangles, in the direction that faces out; None without one."""
    def edges(faces: np.ndarray) -> np.ndarray:
        return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])

    # The neighbour across an edge runs along it the other way: the inside's own direction closes the outside.
    theirs = {tuple(edge) for edge in edges(outside).tolist()}
    following = {first: second for first, second in edges(inside).tolist() if (second, first) in theirs}
    loops = []
    while following:
        first, here = following.popitem()
        loop = [first]
        while here != first and here in following:
            loop.append(here)
            here = following.pop(here)
        if here == first:
            loops.append(loop)
    return np.array(max(loops, key=len)) if loops else None
