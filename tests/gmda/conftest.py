"""Small, deterministic networks: of the true layout, since that is what is tested, but built once."""

from __future__ import annotations

import pytest
import torch

from facerecon.gmda import Autoencoder, build_autoencoder


@pytest.fixture(autouse=True)
def _one_thread_one_seed(single_thread):
    torch.manual_seed(0)


def _random(image_size: int) -> Autoencoder:
    """Random weights, and running statistics that differ from their neutral start."""
    torch.manual_seed(image_size)
    network = build_autoencoder(image_size=image_size)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.uniform_(-0.1, 0.1)
                part.running_var.uniform_(0.5, 1.5)
                part.weight.uniform_(0.8, 1.2)
                part.bias.uniform_(-0.1, 0.3)
    return network.eval()


@pytest.fixture(scope="session")
def small_autoencoder():
    return _random(128)


@pytest.fixture(scope="session")
def large_autoencoder():
    return _random(256)


@pytest.fixture()
def images():
    """(2, 3, S, S) of a size, the same at every call with the same seed."""
    def make(size: int = 128, *, seed: int = 0, count: int = 2) -> torch.Tensor:
        return 0.3 * torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return make
