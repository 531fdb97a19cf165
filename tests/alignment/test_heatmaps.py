"""Heatmaps: the pixel rule, exactness of each decoder, gradients, and maps that hold no peak."""

from __future__ import annotations

import math

import pytest
import torch

from facerecon.alignment import decode_heatmaps, encode_heatmaps, labelled_weights
from facerecon.errors import ArgumentError


def random_points(batch=3, count=20, *, low=20.0, high=236.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(batch, count, 2, generator=generator, dtype=torch.float64)


def test_a_map_is_the_gaussian_of_the_papers():
    # 3.5 map px of deviation; (100.5 + 0.5) / 2 - 0.5 = 50 and (60.5 + 0.5) / 2 - 0.5 = 30.
    (map_,), = encode_heatmaps(torch.tensor([[[100.5, 60.5]]], dtype=torch.float64), image_size=256)
    assert map_.shape == (128, 128) and map_[30, 50] == 1.0 == map_.max()
    assert float(map_[30, 57]) == pytest.approx(math.exp(-2.0))
    assert float(map_[37, 57]) == pytest.approx(math.exp(-4.0))
    assert float(map_.sum()) == pytest.approx(2 * math.pi * 3.5**2, rel=1e-6)


def test_sigma_follows_the_input_size():
    large = encode_heatmaps(torch.tensor([[[100.5, 60.5]]]), image_size=256)
    small = encode_heatmaps(torch.tensor([[[50.0, 30.0]]]), image_size=128)
    torch.testing.assert_close(large, small)


@pytest.mark.parametrize(("method", "tolerance"), [("argmax", 0.51), ("subpixel", 1e-4), ("barycentre", 0.02)])
@pytest.mark.parametrize("image_size", [128, 256, 200])
def test_decoding_gives_the_points_back(method, tolerance, image_size):
    points = random_points() * (image_size / 256)
    maps = encode_heatmaps(points, image_size=image_size)
    found, confidence = decode_heatmaps(maps, image_size=image_size, method=method)
    assert found.shape == points.shape and confidence.shape == points.shape[:2]
    map_px = (found - points).abs().max() * 128 / image_size
    assert map_px < tolerance
    assert (confidence > 0.95).all() and (confidence <= 1).all()


def test_argmax_is_the_centre_of_the_brightest_pixel():
    maps = torch.zeros(1, 2, 128, 128)
    maps[0, 0, 30, 50] = maps[0, 1, 127, 0] = 0.7
    found, _ = decode_heatmaps(maps, image_size=256, method="argmax")
    assert found[0].tolist() == [[100.5, 60.5], [0.5, 254.5]]


def test_subpixel_is_exact_for_narrow_unequal_and_faint_gaussians():
    y, x = torch.meshgrid(*[torch.arange(128, dtype=torch.float64)] * 2, indexing="ij")
    for height, wide, tall in ((1.0, 1.0, 1.0), (0.02, 2.0, 5.0), (30.0, 3.5, 3.5)):
        map_ = height * torch.exp(-0.5 * (((x - 40.3) / wide) ** 2 + ((y - 77.8) / tall) ** 2))
        found, _ = decode_heatmaps(map_[None, None], image_size=128)
        assert (found[0, 0] - torch.tensor([40.3, 77.8], dtype=torch.float64)).abs().max() < 1e-6


def test_subpixel_reaches_the_border_and_a_little_beyond():
    points = torch.tensor([[[0.0, 0.0], [255.0, 128.0], [-1.4, 100.0], [77.0, 256.4]]], dtype=torch.float64)
    found, _ = decode_heatmaps(encode_heatmaps(points, image_size=256), image_size=256)
    assert (found - points).abs().max() < 1e-3


def test_subpixel_beats_argmax_under_noise():
    points = random_points(seed=1)
    noise = 0.02 * torch.randn(3, 20, 128, 128, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    maps = 0.6 * encode_heatmaps(points, image_size=256) + noise
    errors = {method: (decode_heatmaps(maps, image_size=256, method=method)[0] - points).norm(dim=-1).mean()
              for method in ("argmax", "subpixel")}
    assert errors["subpixel"] < 0.5 * errors["argmax"] < 1.5


def test_a_point_outside_leaves_its_tail():
    maps = encode_heatmaps(torch.tensor([[[-14.5, 126.5], [5000.0, 5000.0]]], dtype=torch.float64), image_size=256)
    # x = -7.5 of the map: 7.5 px left of the first column, in the middle of row 63.
    assert float(maps[0, 0].max()) == pytest.approx(math.exp(-0.5 * 7.5**2 / 3.5**2))
    assert maps[0, 0].argmax() == 63 * 128 and maps[0, 1].sum() == 0


def test_an_unlabelled_point_has_an_empty_map_and_no_weight():
    points = torch.tensor([[[10.0, 10.0], [math.nan, 5.0], [math.nan, math.nan]]], requires_grad=True)
    maps = encode_heatmaps(points, image_size=256)
    assert maps[0, 0].max() > 0.9 and maps[0, 1:].abs().sum() == 0
    assert labelled_weights(points).tolist() == [[1.0, 0.0, 0.0]]
    maps.square().sum().backward()
    assert torch.isfinite(points.grad).all()


@pytest.mark.parametrize("method", ["argmax", "subpixel", "barycentre"])
@pytest.mark.parametrize("level", [0.0, 0.7, -1.0])
def test_flat_maps_decode_to_a_place_without_confidence(method, level):
    found, confidence = decode_heatmaps(torch.full((1, 2, 128, 128), level), image_size=256, method=method)
    assert torch.isfinite(found).all() and (found >= -1).all() and (found <= 256).all()
    assert confidence.abs().max() < 1e-6


def test_a_broken_map_is_nan_and_its_neighbours_are_not():
    maps = encode_heatmaps(random_points(1, 3).float(), image_size=256)
    maps[0, 1, 5, 5], maps[0, 2, 5, 5] = math.nan, math.inf
    for method in ("argmax", "subpixel", "barycentre"):
        found, confidence = decode_heatmaps(maps, image_size=256, method=method)
        assert torch.isfinite(found[0, 0]).all() and torch.isnan(found[0, 1:]).all()
        assert confidence[0, 0] > 0.9 and confidence[0, 1:].tolist() == [0.0, 0.0]


def test_confidence_is_the_height_of_the_peak():
    maps = torch.stack([encode_heatmaps(torch.tensor([[[100.5, 60.5]]]), image_size=256)[0, 0] * height
                        for height in (0.25, 0.5, 1.0, 3.0)])[None]
    _, confidence = decode_heatmaps(maps, image_size=256)
    mean = 2 * math.pi * 3.5**2 / 128**2
    assert confidence[0].tolist() == pytest.approx([0.25 * (1 - mean), 0.5 * (1 - mean), 1 - mean, 1.0], abs=1e-4)


def test_barycentre_and_encoding_are_differentiable():
    points = random_points(1, 2, low=25, high=40)
    torch.autograd.gradcheck(lambda p: encode_heatmaps(p, image_size=64, map_size=12), points.requires_grad_(), atol=1e-6)
    maps = encode_heatmaps(random_points(1, 2, low=25, high=40), image_size=64, map_size=12, sigma=40.0)
    # The floor is cut at a tenth of the peak, which the gradient takes as given; lift all but the peak only.
    weights = torch.zeros_like(maps)
    weights[..., 4:8, 4:8] = 1
    maps = (maps.detach() * weights).requires_grad_()
    decode_heatmaps(maps, image_size=64, method="barycentre")[0].sum().backward()
    assert torch.isfinite(maps.grad).all() and maps.grad.abs().sum() > 0
    # More light at a place pulls the barycentre towards it.
    x, y = 7, 4
    centre = decode_heatmaps(maps.detach(), image_size=64, method="barycentre")[0][0, 0]
    pulled = ((torch.tensor([x, y]) + 0.5) * 64 / 12 - 0.5 - centre).sum()
    assert torch.sign(maps.grad[0, 0, y, x]) == torch.sign(pulled)


def test_half_precision_decodes_in_single():
    points = random_points().float()
    found, _ = decode_heatmaps(encode_heatmaps(points, image_size=256).bfloat16(), image_size=256)
    assert found.dtype == torch.float32 and (found - points).abs().max() < 1.5


@pytest.mark.parametrize("call", [
    lambda: encode_heatmaps(torch.zeros(2, 3), image_size=256),
    lambda: encode_heatmaps(torch.zeros(1, 2, 2), image_size=0),
    lambda: encode_heatmaps(torch.zeros(1, 2, 2), image_size=256, sigma=0.0),
    lambda: decode_heatmaps(torch.zeros(1, 2, 64, 32), image_size=256),
    lambda: decode_heatmaps(torch.zeros(2, 64, 64), image_size=256),
    lambda: decode_heatmaps(torch.zeros(1, 2, 64, 64), image_size=256, method="peak"),
])
def test_wrong_arguments_are_refused(call):
    with pytest.raises(ArgumentError):
        call()
