from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.geometry import euler_deg_to_matrix_aflw
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.morphable import load_model


@pytest.fixture(scope="session")
def open_model():
    return load_model("open")


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


def pose_at(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, *, scale: float = 1.5,
            centre: tuple[float, float] = (150.0, 160.0)) -> ScaledOrthographicPose:
    """A pose by AFLW angles in degrees, float32."""
    rotation = euler_deg_to_matrix_aflw(pitch, yaw, roll)
    return ScaledOrthographicPose(torch.as_tensor(rotation, dtype=torch.float32), torch.tensor(centre), torch.tensor(scale))


def landmarks_of(model, identity, expression, pose, scheme: str = "mediapipe478") -> np.ndarray:
    """(N, 2) float64 px of the model's own landmarks."""
    with torch.no_grad():
        points = model.landmarks(scheme, torch.as_tensor(identity, dtype=torch.float32),
                                 torch.as_tensor(expression, dtype=torch.float32))
        return pose.project(points)[:, :2].double().numpy()


@pytest.fixture
def make():
    """The two helpers, since test modules do not import each other."""

    class Make:
        pose = staticmethod(pose_at)
        landmarks = staticmethod(landmarks_of)

    return Make
