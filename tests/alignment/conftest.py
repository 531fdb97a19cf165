"""A network whose maps are known: it shows each colour channel of its input, so that a coloured spot is a landmark."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.alignment import LandmarkScheme, LandmarkTask
from facerecon.gmda import denormalise


class SpotNetwork(torch.nn.Module):
    """(B, 3, S, S) normalised images to (B, 3, 128, 128) maps: red, green and blue, reduced by averaging."""

    outputs = 3

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size

    def forward(self, images):
        return torch.nn.functional.avg_pool2d(denormalise(images), self.image_size // 128)


@pytest.fixture
def spot_task():
    return LandmarkTask(LandmarkScheme("spots", ("red", "green", "blue"), (0, 1, 2)))


@pytest.fixture
def spot_network():
    return SpotNetwork


@pytest.fixture
def spots():
    """Draw a float32 picture (H, W, 3) with a Gaussian spot of each colour: spots((H, W), points (3, 2), sigma)."""
    def draw(size, points, sigma):
        y, x = np.mgrid[:size[0], :size[1]].astype(np.float64)
        channels = [np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / sigma**2) for px, py in points]
        return np.stack(channels, axis=-1).astype(np.float32)

    return draw
