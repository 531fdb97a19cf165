"""A model of eight vertices, made through the same constructor as the real one."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.morphable.embedding import LandmarkEmbedding
from facerecon.morphable.modelfile import ModelData

CUBE_FACES = np.array([[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4], [1, 2, 6], [1, 6, 5], [2, 3, 7],
                       [2, 7, 6], [3, 0, 4], [3, 4, 7]])


def tiny_data(*, seed: int = 0, dtype=np.float32) -> ModelData:
    """A cube with three identity, two expression and two albedo modes; all numbers are exact in float16."""
    generator = np.random.default_rng(seed)
    cube = np.array([[x, y, z] for z in (-1, 1) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))], dtype=dtype)

    def basis(count: int) -> np.ndarray:
        return (generator.integers(-8, 9, (count, 8, 3)) / 16).astype(dtype)

    uv = generator.random((8, 2)).astype(dtype)
    embedding = LandmarkEmbedding(np.array([0, 3, 7]), np.array([[1.0, 0, 0], [0.5, 0.25, 0.25], [0.2, 0.3, 0.5]]),
                                  np.array([True, True, False]))
    pncc = np.array([True] * 7 + [False])
    return ModelData(mean=cube, faces=CUBE_FACES, identity_basis=basis(3), expression_basis=basis(2),
                     albedo_mean=np.full((8, 3), 0.5, dtype=dtype), albedo_basis=basis(2), uv=uv, uv_faces=CUBE_FACES,
                     albedo_texture=generator.integers(0, 256, (4, 4, 3), dtype=np.uint8),
                     symmetry=np.array([1, 0, 3, 2, 5, 4, 7, 6]), masks={"pncc": pncc, "skin": ~pncc},
                     embeddings={"three": embedding},
                     header={"name": "cube", "units": "mm", "licence": "CC0-1.0", "source": "a test",
                             "expression_names": ["open", "shut"], "expression_range": [0.0, 1.0]})


def as_dtype(data: ModelData, dtype) -> ModelData:
    """The same data in another floating type."""
    names = ("mean", "identity_basis", "expression_basis", "albedo_mean", "albedo_basis", "uv")
    return dataclasses.replace(data, **{name: getattr(data, name).astype(dtype) for name in names})
