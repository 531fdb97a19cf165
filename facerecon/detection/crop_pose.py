"""Poses in the pixels of a crop and in those of its photo."""

from __future__ import annotations

from facerecon.detection.crop import Crop
from facerecon.geometry.cameras import ScaledOrthographicPose


def pose_to_photo(pose: ScaledOrthographicPose, crop: Crop) -> ScaledOrthographicPose:
    """A pose in the pixels of a crop without roll, as a pose in the pixels of its photo."""
    x, y = crop.centre
    return pose.scaled_image(crop.side / crop.size).shifted(x + 0.5 - crop.side / 2, y + 0.5 - crop.side / 2)


def pose_to_crop(pose: ScaledOrthographicPose, crop: Crop) -> ScaledOrthographicPose:
    """The inverse of `pose_to_photo`."""
    x, y = crop.centre
    return pose.shifted(crop.side / 2 - 0.5 - x, crop.side / 2 - 0.5 - y).scaled_image(crop.size / crop.side)
