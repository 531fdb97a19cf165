"""How far each landmark, and each expression, is to be trusted."""

from __future__ import annotations

import numpy as np

# MediaPipe's face oval, all around from the top of the forehead.
MEDIAPIPE_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
                  150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
IBUG_JAW = tuple(range(17))

# Weight of contour points on a frontal face, and the least that remains of it at a profile.
CONTOUR_WEIGHT, CONTOUR_LEAST = 0.5, 0.05

# Standard deviation, in mm, that one of MediaPipe's 478 landmarks is given. Their errors are not independent (one face is some
# hundred independent numbers), so this is larger than the error of one of them; schemes with fewer points get a smaller one.
SIGMA_DENSE_MM, DENSE_COUNT, SIGMA_LEAST_MM = 5.0, 478, 2.0

# Actions that pose and identity can imitate, or that the landmarks hardly see, cost more than the others.
EXPRESSION_SPARSE, EXPRESSION_RIDGE = 4.0, 2.0
EXPRESSION_FACTORS = {
    "cheekPuff": 4.0, "tongueOut": 8.0, "jawForward": 4.0, "jawLeft": 2.0, "jawRight": 2.0, "mouthLeft": 2.0, "mouthRight": 2.0,
    "eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5, "jawOpen": 0.5,
}
GAZE_FACTOR = 0.25


def contour_weight(scheme: str, count: int, rotation: np.ndarray) -> np.ndarray:
    """(count,) weights that lower the contour landmarks as the head turns.

    Detectors put contour points on the visible outline, which slides over the skin when the head turns; inner points are
    anatomical and stay.
    """
    contour = {"mediapipe478": MEDIAPIPE_OVAL, "ibug68": IBUG_JAW}.get(scheme, ())
    weights = np.ones(count)
    frontal = max(-float(rotation[2, 2]), 0.0)
    weights[list(contour)] = CONTOUR_LEAST + (CONTOUR_WEIGHT - CONTOUR_LEAST) * frontal**4
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
