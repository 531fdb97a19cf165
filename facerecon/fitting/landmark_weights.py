"""How far each landmark, and each expression, is to be trusted."""

from __future__ import annotations

import numpy as np

from facerecon.morphable.schemes import IBUG68_GROUPS, MEDIAPIPE478_GROUPS

# Weight of contour points on a frontal face, and the least that remains of it at a profile.
CONTOUR_WEIGHT, CONTOUR_LEAST = 0.5, 0.05

# What people recognise each other by, and detectors place best, counts more than the cheeks.
GROUP_WEIGHTS = {"right eye": 3.0, "left eye": 3.0, "right iris": 3.0, "left iris": 3.0, "outer lips": 2.0, "inner lips": 2.0}

# Standard deviation, in mm, that one of MediaPipe's 478 landmarks is given. Their errors are not independent (one face is some
# hundred independent numbers), so this is larger than the error of one of them; schemes with fewer points get a smaller one.
SIGMA_DENSE_MM, DENSE_COUNT, SIGMA_LEAST_MM = 3.5, 478, 1.5

# Actions that pose and identity can imitate, or that the landmarks hardly see, cost more than the others.
EXPRESSION_SPARSE, EXPRESSION_RIDGE = 14.0, 7.0
EXPRESSION_FACTORS = {
    "cheekPuff": 4.0, "tongueOut": 8.0, "jawForward": 4.0, "jawLeft": 2.0, "jawRight": 2.0, "mouthLeft": 2.0, "mouthRight": 2.0,
    "eyeBlinkLeft": 0.4, "eyeBlinkRight": 0.4, "eyeSquintLeft": 0.7, "eyeSquintRight": 0.7, "jawOpen": 0.5,
}
GAZE_FACTOR = 0.25


_GROUPS = {"mediapipe478": MEDIAPIPE478_GROUPS, "ibug68": IBUG68_GROUPS}


def group_weight(scheme: str, count: int, rotation: np.ndarray) -> np.ndarray:
    """(count,) weights of the landmarks by what they belong to, for a head with this rotation (3, 3).

    Detectors put contour points on the visible outline, which slides over the skin when the head turns; so their weight
    falls with the turn. Inner points are anatomical and stay.
    """
    weights = np.ones(count)
    groups = _GROUPS.get(scheme, {})
    for name, value in GROUP_WEIGHTS.items():
        weights[list(groups.get(name, ()))] = value
    frontal = max(-float(rotation[2, 2]), 0.0)
    for name in ("oval", "jaw"):
        weights[list(groups.get(name, ()))] = CONTOUR_LEAST + (CONTOUR_WEIGHT - CONTOUR_LEAST) * frontal**4
    return weights


def landmark_sigma_mm(count: int) -> float:
    """Standard deviation for a scheme with `count` points, so that more points do not outvote the priors."""
    return float(max(SIGMA_LEAST_MM, SIGMA_DENSE_MM * min(1.0, count / DENSE_COUNT) ** 0.5))


def expression_prior(names: tuple[str, ...], bounded: bool) -> tuple[np.ndarray, np.ndarray]:
    """(linear, quadratic) prior weights (E,) of the expressions; unbounded ones are N(0,1) and get no linear term."""
    if not bounded:
        return np.zeros(len(names)), np.ones(len(names))
    factors = np.array([EXPRESSION_FACTORS.get(name, GAZE_FACTOR if name.startswith("eyeLook") else 1.0) for name in names])
    return EXPRESSION_SPARSE * factors, EXPRESSION_RIDGE * factors
