"""Poses in the pixels of a crop and in those of its photo."""

from __future__ import annotations

import math

import torch

from facerecon.detection.crop import Crop
from facerecon.geometry.cameras import ScaledOrthographicPose


def pose_to_photo(pose: ScaledOrthographicPose, crop: Crop) -> ScaledOrthographicPose:
    """A pose in the pixels of a crop as a pose in the pixels of its photo."""
    if crop.roll:
        pose = _turned(pose, crop.roll, (crop.size - 1) / 2)
    x, y = crop.centre
    return pose.scaled_image(crop.side / crop.size).shifted(x + 0.5 - crop.side / 2, y + 0.5 - crop.side / 2)


def pose_to_crop(pose: ScaledOrthographicPose, crop: Crop) -> ScaledOrthographicPose:
    """The inverse of `pose_to_photo`."""
    x, y = crop.centre
    pose = pose.shifted(crop.side / 2 - 0.5 - x, crop.side / 2 - 0.5 - y).scaled_image(crop.size / crop.side)
    return _turned(pose, -crop.roll, (crop.size - 1) / 2) if crop.roll else pose


def roll_matrix(roll: float) -> torch.Tensor:
    """(3, 3) float32 turn of the camera frame by `roll` radians in the picture, clockwise as seen."""
    cosine, sine = math.cos(roll), math.sin(roll)
    return torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _turned(pose: ScaledOrthographicPose, roll: float, middle: float) -> ScaledOrthographicPose:
    turn = roll_matrix(roll).to(pose.rotation)
    return ScaledOrthographicPose(turn @ pose.rotation, turn[:2, :2] @ (pose.translation - middle) + middle, pose.scale)
