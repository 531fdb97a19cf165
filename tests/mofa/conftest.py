"""A face model of 121 vertices: a bulging mask, symmetric, with 68 points on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.mofa import CodeLayout
from facerecon.morphable.embedding import LandmarkEmbedding
from facerecon.morphable.model import MorphableModel
from facerecon.morphable.modelcheck import topology_sha256
from facerecon.morphable.modelfile import ModelData

SIDE = 11


@pytest.fixture(autouse=True)
def _one_thread_one_seed(single_thread):
    torch.manual_seed(0)


def mask_model(*, seed: int = 0, bounded: bool = True) -> MorphableModel:
    """4 identity, 3 expression and 2 albedo modes; 140 mm wide, 160 mm high."""
    generator = np.random.default_rng(seed)
    u, v = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(1, -1, SIDE))
    mean = np.stack([70 * u, 80 * v - 20, 60 * np.cos(1.2 * u) * np.cos(0.9 * v) - 20], -1).reshape(-1, 3).astype(np.float32)
    index = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    triangle = np.linspace(0, len(faces) - 1, 68).astype(np.int64)
    valid = np.arange(68) != 5
    weights = generator.dirichlet((2, 2, 2), 68)
    weights[:, 0] += 1 - weights.sum(axis=1)
    skin = np.ones(len(mean), dtype=bool)
    skin[index[4:6, 4:7]] = False
    smooth = np.stack([u * v, np.cos(2 * u), v**2], -1).reshape(-1, 3)

    def basis(count: int, size: float) -> np.ndarray:
        return (size * generator.normal(size=(count, 1, 3)) * smooth + 0.1 * size * generator.normal(size=(count, len(mean), 3))
                ).astype(np.float32)

    return MorphableModel(ModelData(
        mean=mean, faces=faces, identity_basis=basis(4, 3.0), expression_basis=basis(3, 4.0),
        albedo_mean=np.clip(0.5 + 0.3 * smooth, 0.1, 0.9).astype(np.float32), albedo_basis=basis(2, 0.05),
        uv=mean[:, :2].copy(), uv_faces=faces, albedo_texture=np.zeros((4, 4, 3), np.uint8),
        symmetry=index[:, ::-1].ravel().copy(),
        masks={"face": np.ones(len(mean), bool), "skin": skin},
        embeddings={"ibug68": LandmarkEmbedding(triangle, weights, valid)},
        header={"name": "mask", "units": "mm", "licence": "CC0-1.0", "source": "a test", "expression_names": ["a", "b", "c"],
                "expression_range": [0.0, 1.0] if bounded else None, "topology_sha256": topology_sha256(faces)}))


@pytest.fixture()
def model() -> MorphableModel:
    return mask_model()


@pytest.fixture(params=["orthographic", "perspective"])
def camera(request) -> str:
    return request.param


@pytest.fixture()
def layout(model) -> CodeLayout:
    return CodeLayout.of(model)


def random_raw(layout: CodeLayout, count: int = 3, *, seed: int = 0, size: float = 0.5, dtype=torch.float64) -> torch.Tensor:
    """Raw codes of plausible faces."""
    return size * torch.randn(count, layout.size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
