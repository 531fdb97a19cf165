"""The fast paths of the acquisition functions give what the plain ones give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.alignment import nnm, spatial_entropy
from facerecon.alignment.heatmaps import brightest_pixels
from facerecon.errors import ArgumentError


def maps_of(kind):
    maps = torch.randn(3, 5, 16, 18, generator=torch.Generator().manual_seed(0))
    if kind == "negative":
        return -maps.abs() - 0.1
    if kind == "some negative":
        maps[0], maps[1, 2] = -maps[0].abs() - 0.1, 0.0
    if kind == "zeros of both signs":
        maps = maps.clamp_max(0)
        maps[:, ::2] = -0.0
    return maps


@pytest.mark.parametrize("kind", ["usual", "negative", "some negative", "zeros of both signs"])
def test_single_precision_agrees_with_double(kind):
    maps = maps_of(kind)
    for found in (maps, maps.transpose(2, 3), maps[:, :, 1:15, 2:16]):
        for window in (3, 21):
            wanted = nnm(found.double(), window=window)
            torch.testing.assert_close(nnm(found, window=window).double(), wanted, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(spatial_entropy(found).double(), spatial_entropy(found.double()), rtol=1e-5, atol=1e-5)


def test_known_peaks():
    maps = maps_of("usual")
    torch.testing.assert_close(nnm(maps, peaks=brightest_pixels(maps)), nnm(maps))
    corner = nnm(maps, window=3, peaks=torch.zeros(3, 5, dtype=torch.int64))
    np.testing.assert_allclose(corner, -maps[:, :, :2, :2].sum((1, 2, 3)), rtol=1e-5)
    with pytest.raises(ArgumentError):
        nnm(maps, peaks=torch.zeros(3, 4, dtype=torch.int64))


def test_maps_without_a_positive_value_are_uniform():
    maps = torch.zeros(2, 9, 8, 8)
    maps[1] = -1.0
    assert spatial_entropy(maps).tolist() == pytest.approx([np.log(64)] * 2, abs=1e-6)
