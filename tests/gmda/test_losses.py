"""The losses against their equations, written out, and their derivatives."""

from __future__ import annotations

import math

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.gmda import losses


def windows(image: torch.Tensor, window: int, stride: int):
    for row in range(0, image.shape[-2] - window + 1, stride):
        for column in range(0, image.shape[-1] - window + 1, stride):
            yield slice(row, row + window), slice(column, column + window)


def similarity_naive(a: torch.Tensor, b: torch.Tensor, window: int, stride: int, k: float) -> list[float]:
    """Equations 1 and 2 of 3FabRec, window by window: contrast times correlation."""
    found = []
    for rows, columns in windows(a, window, stride):
        one, other = a[rows, columns].double(), b[rows, columns].double()
        deviation_a, deviation_b = one.std(correction=0), other.std(correction=0)
        covariance = ((one - one.mean()) * (other - other.mean())).mean()
        contrast = (2 * deviation_a * deviation_b + k) / (deviation_a**2 + deviation_b**2 + k)
        structure = (covariance + k / 2) / (deviation_a * deviation_b + k / 2)
        found.append(float(contrast * structure))
    return found


@pytest.mark.parametrize(("window", "stride"), [(7, 1), (5, 3)])
def test_structural_similarity_is_contrast_times_correlation(window, stride):
    a, b = torch.rand(2, 3, 12, 11, dtype=torch.float64), torch.rand(2, 3, 12, 11, dtype=torch.float64)
    got = losses.structural_similarity(a, b, window=window, stride=stride)
    for batch in range(2):
        for channel in range(3):
            naive = similarity_naive(a[batch, channel], b[batch, channel], window, stride, losses.STABILITY)
            assert got[batch, channel].reshape(-1).tolist() == pytest.approx(naive, abs=1e-9)
    total = sum(sum(similarity_naive(a[i, c], b[i, c], window, stride, losses.STABILITY)) for i in range(2) for c in range(3))
    loss = float(losses.structural_loss(a, b, window=window, stride=stride))
    assert loss == pytest.approx(1 - total / got.numel(), abs=1e-9)


def test_structural_loss_is_zero_for_equal_images_and_blind_to_brightness():
    a = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    assert float(losses.structural_loss(a, a)) == pytest.approx(0, abs=1e-12)
    assert float(losses.structural_loss(a + 0.2, a)) == pytest.approx(0, abs=1e-9)
    assert float(losses.structural_loss(-a, a)) > 1.9
    with pytest.raises(ArgumentError, match="window"):
        losses.structural_loss(a, a, window=17)


def test_gradients():
    a = torch.rand(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    b = torch.rand(1, 2, 8, 8, dtype=torch.float64)
    weight = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    logits = torch.randn(4, dtype=torch.float64, requires_grad=True)
    for loss in (losses.reconstruction_loss, losses.structural_loss, losses.squared_loss, losses.absolute_loss):
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, b), (a,), eps=1e-6, atol=1e-6)
    for loss in (losses.squared_loss, losses.absolute_loss):
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, b, weight=weight), (a,), eps=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(lambda x: losses.discriminator_loss(x, -x), (logits,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", [losses.structural_loss, losses.squared_loss, losses.absolute_loss, losses.reconstruction_loss])
def test_gradients_are_finite_where_images_agree_or_are_flat(loss):
    for start in (torch.full((1, 1, 8, 8), 0.5), torch.rand(1, 1, 8, 8)):
        x = start.clone().requires_grad_(True)
        value = loss(x, start)
        value.backward()
        assert float(value.detach()) == pytest.approx(0, abs=1e-6) and bool(x.grad.isfinite().all())


def test_map_losses_by_hand():
    maps, target = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    maps[0, 0, 0, 0], maps[0, 1] = 2.0, 3.0
    # First map: one of four pixels is off by 2; second map: all by 3.
    assert float(losses.squared_loss(maps, target)) == pytest.approx((4 / 4 + 9) / 2)
    assert float(losses.absolute_loss(maps, target)) == pytest.approx((2 / 4 + 3) / 2)
    only_first = torch.tensor([[1.0, 0.0]])
    assert float(losses.squared_loss(maps, target, weight=only_first)) == pytest.approx(1)
    assert float(losses.absolute_loss(maps, target, weight=only_first)) == pytest.approx(0.5)
    assert float(losses.squared_loss(maps, target, weight=torch.zeros(1, 2))) == 0
    for loss in (losses.squared_loss, losses.absolute_loss):
        with pytest.raises(ArgumentError, match="target"):
            loss(maps, target[:, :1])
        with pytest.raises(ArgumentError, match="weight"):
            loss(maps, target, weight=torch.ones(2))


def test_adversarial_losses_by_hand():
    even = torch.zeros(3)
    assert float(losses.real_loss(even)) == float(losses.fake_loss(even)) == pytest.approx(math.log(2))
    assert float(losses.discriminator_loss(torch.full((2,), 50.0), torch.full((2,), -50.0))) == pytest.approx(0, abs=1e-12)
    assert float(losses.real_loss(torch.tensor([1.0]))) == pytest.approx(-math.log(1 / (1 + math.exp(-1.0))))
    assert float(losses.fake_loss(torch.tensor([1.0]))) == pytest.approx(-math.log(1 - 1 / (1 + math.exp(-1.0))))


def test_emphasis_weighs_pixels_by_their_target():
    maps = torch.tensor([[[[0.5, 0.0], [0.0, 0.25]]]])
    target = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    # 0.25 (1 + 3) and 0.0625 of four pixels; without emphasis 0.25 and 0.0625.
    assert float(losses.squared_loss(maps, target, emphasis=3.0)) == pytest.approx((1.0 + 0.0625) / 4)
    assert float(losses.squared_loss(maps, target)) == pytest.approx((0.25 + 0.0625) / 4)
