"""One source of heads for all tests of the folder, and small faces that cost nothing to make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.geometry import ScaledOrthographicPose
from facerecon.morphable import FaceParameters
from facerecon.synthesis.sample import SyntheticFace
from facerecon.synthesis.source import HeadOptions

MAPS = ("pncc", "depth", "normals")


@pytest.fixture(scope="session")
def source():
    """Heads of the open model with all maps, 96 px."""
    return HeadOptions(1000, seed=5, size=96, maps=MAPS).open()


@pytest.fixture(scope="session")
def heads(source) -> list[SyntheticFace]:
    """The first eight of them."""
    return [source.make(index)[0] for index in range(8)]


class PlainSource:
    """Faces of noise, as small as they get; item 3 of each ten is refused. Where drawing does not matter."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self._count, self._seed = count, seed
        self.about = {"source": "plain", "seed": seed}

    def __len__(self) -> int:
        return self._count

    def open(self) -> PlainSource:
        return self

    def make(self, index: int) -> list[SyntheticFace]:
        from facerecon.errors import FaceError

        if index % 10 == 3:
            raise FaceError("nobody there", code="no_face")
        return [plain_face(np.random.default_rng([self._seed, index]), f"plain_{index:06d}.jpg")]


def plain_face(generator: np.random.Generator, name: str) -> SyntheticFace:
    """Noise with random parameters of a model of 3 + 2 + 2."""
    def draw(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    pose = ScaledOrthographicPose.frontal(scale=float(generator.uniform(0.5, 1)), translation=(8.0, 9.0))
    parameters = FaceParameters(*(torch.from_numpy(draw(count)) for count in (3, 2, 2)), torch.from_numpy(draw(9, 3)), pose)
    return SyntheticFace(name, name[:-4], generator.integers(0, 256, (16, 16, 3), np.uint8), parameters, draw(68, 2),
                         generator.uniform(size=68) < 0.5, draw(478, 2), generator.uniform(size=478) < 0.5,
                         {"pncc": generator.integers(0, 256, (128, 128, 3), np.uint8)}, 90)


@pytest.fixture
def plain():
    """Makes a `PlainSource` of so many items."""
    return PlainSource
