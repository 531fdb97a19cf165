"""Codes whose truth is known: the open model's mean, or another head, drawn in a known pose."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from facerecon.geometry import ScaledOrthographicPose, euler_deg_to_matrix_aflw
from facerecon.gmda import denormalise
from facerecon.morphable import load_model
from facerecon.pncc import CodeSurface, PnccTask, code_box
from facerecon.render import ambient_light
from facerecon.views import PhotoView


@pytest.fixture(scope="session")
def model():
    return load_model()


@pytest.fixture(scope="session")
def surface(model):
    return CodeSurface(model)


def pose_of(yaw, *, pitch=8.0, roll=-15.0, scale=0.62, centre=(63.5, 60.0)):
    angles = (torch.tensor(float(angle)) for angle in (pitch, yaw, roll))
    return ScaledOrthographicPose(euler_deg_to_matrix_aflw(*angles), torch.tensor(centre), torch.tensor(scale))


@pytest.fixture(scope="session")
def pose():
    """pose(yaw, pitch=, roll=, scale=, centre=) in px of a map."""
    return pose_of


@pytest.fixture(scope="session")
def draw(model):
    """draw(pose, vertices=mean, size=(128, 128)) -> the 8-bit code."""
    def drawn(pose, vertices=None, size=(128, 128)):
        vertices = model.mean if vertices is None else vertices
        code = PhotoView(model, vertices, model.albedo_mean, ambient_light(), pose, size).pncc()
        return np.rint(code * 255).astype(np.uint8)

    return drawn


@pytest.fixture(scope="session")
def apart_deg():
    """The angle between two rotations, from the sine of its half, which is exact for small ones."""
    def angle(first, second):
        difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
        return math.degrees(2 * math.asin(min(1.0, np.linalg.norm(difference) / math.sqrt(8))))

    return angle


@pytest.fixture(scope="session")
def task(model):
    box = code_box(model)
    return PnccTask(model.name, model.header["topology_sha256"], tuple(box["low"]), tuple(box["high"]))


class EchoNetwork(torch.nn.Module):
    """(B, 3, 128, 128) normalised images to themselves in [0, 1]: a picture of a code is its own prediction."""

    image_size, outputs = 128, 3

    def forward(self, images):
        return denormalise(images)


@pytest.fixture
def echo():
    return EchoNetwork()
