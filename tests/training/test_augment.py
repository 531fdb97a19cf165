"""Random views of crops: the maps are exact affine maps, points and target maps follow the pixels."""

from __future__ import annotations

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.training.augment import Augmentation, Warped, augment, sample_affine, warp_maps, warp_points

EVERYTHING = Augmentation(flip=0.5, translate=0.05, scale=(0.9, 1.1), rotate_deg=30)


def dots(points: torch.Tensor, size: int, sigma: float = 2.0) -> torch.Tensor:
    """(B, size, size, 3) uint8: one soft dot per channel at points (B, 3, 2)."""
    grid = torch.arange(size, dtype=torch.float32)
    distance = (grid[None, None, None, :] - points[:, :, 0, None, None]) ** 2 + (grid[None, None, :, None] - points[:, :, 1, None, None]) ** 2
    return (255 * torch.exp(-distance / (2 * sigma**2))).round().to(torch.uint8).permute(0, 2, 3, 1)


def centres(maps: torch.Tensor) -> torch.Tensor:
    """Barycentres (B, C, 2) of maps (B, C, H, W)."""
    height, width = maps.shape[-2:]
    weight = maps / maps.sum((2, 3), keepdim=True)
    x = (weight * torch.arange(width)).sum((2, 3))
    y = (weight * torch.arange(height)[:, None]).sum((2, 3))
    return torch.stack((x, y), 2)


def test_no_change_is_the_crop_itself():
    images = torch.randint(0, 256, (2, 24, 24, 3), dtype=torch.uint8)
    warped = augment(images, Augmentation(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(warped.images, images.permute(0, 3, 1, 2) / 255, atol=1e-5, rtol=0)
    torch.testing.assert_close(warped.matrices, torch.eye(3)[:2].expand(2, 2, 3), atol=1e-5, rtol=0)


def test_a_mirror_sends_x_to_the_other_side():
    images = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    warped = augment(images, Augmentation(flip=1.0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(warped.images, images.permute(0, 3, 1, 2).flip(3) / 255, atol=1e-5, rtol=0)
    points = torch.tensor([[[2.0, 5.0], [11.0, 6.0]]]).expand(3, 2, 2)
    moved = warp_points(points, warped, torch.tensor([1, 0]))
    torch.testing.assert_close(moved, torch.tensor([[[15 - 11.0, 6.0], [15 - 2.0, 5.0]]]).expand(3, 2, 2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [64, 96, 48])
def test_points_land_where_their_pixels_land(size):
    generator = torch.Generator().manual_seed(3)
    points = 24 + 16 * torch.rand(8, 3, 2, generator=generator)
    warped = augment(dots(points, 64), EVERYTHING, generator, size=size)
    assert 0 < int(warped.flipped.sum()) < 8
    # The colour channels do not change places in a mirror, so neither may the points here.
    moved = warp_points(points, warped, torch.arange(3))
    assert float((centres(warped.images) - moved).norm(dim=2).max()) < 0.06


@pytest.mark.parametrize(("side", "size"), [(32, 64), (64, 64), (64, 32)])
def test_target_maps_follow_the_points(side, size):
    generator = torch.Generator().manual_seed(5)
    points = 20 + 24 * torch.rand(6, 3, 2, generator=generator)
    warped = augment(dots(points, 64), EVERYTHING, generator, size=size)
    maps = dots((points + 0.5) * side / 64 - 0.5, side).permute(0, 3, 1, 2).float()
    expected = (warp_points(points, warped, torch.arange(3)) + 0.5) * side / size - 0.5
    assert float((centres(warp_maps(maps, warped, crop_size=64)) - expected).norm(dim=2).max()) < 0.06


def test_one_seed_gives_one_sequence():
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    rich = Augmentation(flip=0.5, translate=0.05, scale=(0.9, 1.1), rotate_deg=30, occlude=0.5, blur=0.5, brightness=0.1,
                        contrast=0.2)
    first = augment(images, rich, torch.Generator().manual_seed(1))
    second = augment(images, rich, torch.Generator().manual_seed(1))
    other = augment(images, rich, torch.Generator().manual_seed(2))
    assert torch.equal(first.images, second.images) and torch.equal(first.matrices, second.matrices)
    assert not torch.equal(first.images, other.images)
    assert 0 <= float(first.images.min()) and float(first.images.max()) <= 1


def test_an_occluder_covers_what_it_says():
    images = torch.full((16, 50, 50, 3), 128, dtype=torch.uint8)
    warped = augment(images, Augmentation(occlude=1.0, occlude_size=(0.2, 0.4)), torch.Generator().manual_seed(0))
    covered = (warped.images - 128 / 255).abs().amax(1) > 1e-3
    share = covered.float().mean((1, 2))
    assert float(share.min()) > 0.2**2 * 0.9 and float(share.max()) <= 0.4**2 + 1e-6


def test_sampling_is_differentiable_in_the_maps():
    maps = torch.rand(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    matrix = torch.tensor([[[0.9, 0.2, 0.3], [-0.2, 0.9, 0.6]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda m: sample_affine(m, matrix, 5), maps)


def test_wrong_ranges_and_shapes_are_refused():
    with pytest.raises(ArgumentError):
        Augmentation(flip=1.5)
    with pytest.raises(ArgumentError):
        Augmentation(scale=(1.2, 1.1))
    with pytest.raises(ArgumentError):
        augment(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), Augmentation(), torch.Generator())
    assert Warped._fields == ("images", "matrices", "flipped")
