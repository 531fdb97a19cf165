"""Five points of a face (eyes, nose tip, mouth corners): from dense landmarks, and the rough pose they give."""

from __future__ import annotations

import numpy as np

# MediaPipe: the iris centres, the tip of the nose, the corners of the mouth; the picture's left first.
_FROM_478 = (468, 473, 4, 61, 291)


def five_from_dense(points478: np.ndarray) -> np.ndarray:
    """The five points (5, 2) of MediaPipe landmarks (478, 2 or more), in the order of `DetectedFace.points5`."""
    return np.asarray(points478)[list(_FROM_478), :2].astype(np.float32)


def roll_of(points5: np.ndarray) -> float:
    """Angle in radians of the face in the picture, clockwise as seen, from the axis eyes to mouth and the eye line.

    The eye line shortens in profile, the face axis when looking up or down; their unnormalised sum weighs each by its length.
    """
    eyes, mouth = points5[:2], points5[3:]
    across = (eyes[1] - eyes[0]) + (mouth[1] - mouth[0])
    down = 2 * (mouth.mean(axis=0) - eyes.mean(axis=0))
    # Turned by a quarter, the downward axis points along the eye line.
    total = across + np.array([down[1], -down[0]])
    return float(np.arctan2(total[1], total[0]))


def approximate_yaw_deg(points5: np.ndarray) -> float:
    """Rough yaw in degrees in [-90, 90], positive when the face looks to the picture's left (AFLW's sign).

    On a head of average proportions the nose tip stands out of the plane of eyes and mouth by 0.6 of the eye distance; seen
    under yaw it shifts sideways by that times the sine, while the eye distance shrinks by the cosine.
    """
    roll = roll_of(points5)
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    upright = np.asarray(points5, dtype=np.float64) @ turn.T
    eyes, nose, mouth = upright[:2], upright[2], upright[3:]
    shift = nose[0] - (eyes[:, 0].mean() + mouth[:, 0].mean()) / 2
    width = ((eyes[1, 0] - eyes[0, 0]) + (mouth[1, 0] - mouth[0, 0]) * 1.25) / 2
    return float(np.degrees(np.arctan2(-shift / 0.6, max(width, 0.0)))) if shift or width else 0.0
