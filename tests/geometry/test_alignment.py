"""Procrustes: exact on exact data, best on noisy data, never a reflection."""

from __future__ import annotations

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.geometry import Similarity, procrustes, rotvec_to_matrix

F64 = torch.float64


@pytest.fixture
def source() -> torch.Tensor:
    return torch.randn(2, 15, 3, generator=torch.Generator().manual_seed(0), dtype=F64)


@pytest.fixture
def motion() -> Similarity:
    rotation = rotvec_to_matrix(torch.tensor([[0.3, -2.0, 0.4], [1.0, 2.0, -0.5]], dtype=F64))
    return Similarity(torch.tensor([2.5, 0.1], dtype=F64), rotation, torch.tensor([[1.0, 2, 3], [-4, 5, 60]], dtype=F64))


def test_exact_motion_is_found(source, motion):
    found = procrustes(source, motion.apply(source))
    assert torch.allclose(found.scale, motion.scale)
    assert torch.allclose(found.rotation, motion.rotation)
    assert torch.allclose(found.translation, motion.translation)


def test_inverse_and_composition(source, motion):
    assert torch.allclose(motion.inverse().apply(motion.apply(source)), source)
    other = procrustes(source, source.flip(1))
    assert torch.allclose(motion.compose(other).apply(source), motion.apply(other.apply(source)))


def test_a_mirrored_target_is_not_reflected(source):
    found = procrustes(source, source * torch.tensor([-1.0, 1, 1], dtype=F64))
    assert torch.allclose(torch.linalg.det(found.rotation), torch.ones(2, dtype=F64))


@pytest.mark.parametrize("scale", [True, False])
def test_result_is_the_least_squares_optimum(source, motion, scale):
    generator = torch.Generator().manual_seed(5)
    target = motion.apply(source) + torch.randn(source.shape, generator=generator, dtype=F64)
    weights = torch.rand(source.shape[:2], generator=generator, dtype=F64)
    found = procrustes(source, target, weights, scale=scale)

    def cost(candidate: Similarity) -> torch.Tensor:
        return (weights[..., None] * (candidate.apply(source) - target).square()).sum((-2, -1))

    best = cost(found)
    for _ in range(40):
        step = 0.03 * torch.randn(2, 7, generator=generator, dtype=F64)
        factor = torch.exp(step[:, 6]) if scale else torch.ones(2, dtype=F64)
        turned = found.rotation @ rotvec_to_matrix(step[:, :3])
        near = Similarity(found.scale * factor, turned, found.translation + step[:, 3:6])
        assert (cost(near) >= best).all()
    if not scale:
        assert torch.equal(found.scale, torch.ones(2, dtype=F64))


def test_weight_zero_removes_a_point(source, motion):
    target = motion.apply(source)
    target[:, 0] += 100
    weights = torch.ones(source.shape[:2])
    weights[:, 0] = 0
    assert torch.allclose(procrustes(source, target, weights).translation, motion.translation)


def test_two_dimensions_and_float32():
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    turned = torch.tensor([[5.0, 5], [5, 7], [3, 7], [3, 5]])
    found = procrustes(square, turned)
    assert found.scale.dtype == torch.float32 and found.scale.item() == pytest.approx(2)
    assert torch.allclose(found.rotation, torch.tensor([[0.0, -1], [1, 0]]), atol=1e-6)


def test_bad_points_are_refused(source):
    with pytest.raises(ArgumentError, match="repeated"):
        procrustes(torch.ones(5, 3), torch.randn(5, 3))
    with pytest.raises(ArgumentError, match="two above 0"):
        procrustes(source[0], source[0], torch.zeros(15))
    with pytest.raises(ArgumentError, match=">= 0"):
        procrustes(source[0], source[0], -torch.ones(15))
    with pytest.raises(ArgumentError, match="finite"):
        procrustes(source[0] * torch.nan, source[0])
    with pytest.raises(ArgumentError, match="wanted shape"):
        procrustes(source[0], source[0, :5])
    with pytest.raises(ArgumentError, match="dimensions"):
        procrustes(torch.randn(5, 4), torch.randn(5, 4))
