"""The photometric term: hand-computed values, gradients in float64, also at zero residual."""

from __future__ import annotations

import math

import pytest
import torch

from facerecon.fitting.energy import photometric_irls_weight, photometric_term


def doubles(*shape, seed=0, grad=False):
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.requires_grad_(grad)


def test_photometric_term_by_hand():
    photo = torch.zeros(2, 1, 3, dtype=torch.float64)
    drawn = torch.tensor([[[0.3, 0.0, 0.4]], [[0.0, 0.0, 0.0]]], dtype=torch.float64)
    weight = torch.ones(2, 1, dtype=torch.float64)
    # Distances 0.5 and 0; plain L2,1 is their mean.
    assert photometric_term(drawn, photo, weight, epsilon=0.0, saturation=math.inf) == pytest.approx(0.25)
    # 0.5 / (1 + 0.5 / 0.25) = 1/6.
    assert photometric_term(drawn, photo, weight, epsilon=0.0, saturation=0.25) == pytest.approx(1 / 12)
    weight[1] = 0.0
    assert photometric_term(drawn, photo, weight, epsilon=0.0, saturation=math.inf) == pytest.approx(0.5)


@pytest.mark.parametrize("same", [False, True])
def test_gradients_in_float64(same):
    photo = doubles(4, 3, 3, seed=1)
    drawn = photo.clone().requires_grad_(True) if same else doubles(4, 3, 3, seed=2, grad=True)
    weight = doubles(4, 3, seed=3)
    assert torch.autograd.gradcheck(lambda x: photometric_term(x, photo, weight), (drawn,))


def test_reweighting_bounds_the_term_from_above():
    photo, here, there = (doubles(50, 3, seed=seed) for seed in (1, 2, 3))
    weight = torch.ones(50, dtype=torch.float64)
    robust = photometric_irls_weight(here, photo)

    def bound(drawn):
        return (robust * ((drawn - photo) ** 2).sum(-1)).mean()

    # The bound has the term's slope here, and falls no faster anywhere.
    probe = here.clone().requires_grad_(True)
    slopes = [torch.autograd.grad(value, probe)[0] for value in (photometric_term(probe, photo, weight), bound(probe))]
    torch.testing.assert_close(slopes[0], slopes[1])
    for share in (0.1, 0.5, 1.0):
        drawn = here + share * (there - here)
        rise = photometric_term(drawn, photo, weight) - photometric_term(here, photo, weight)
        assert rise <= bound(drawn) - bound(here) + 1e-12
