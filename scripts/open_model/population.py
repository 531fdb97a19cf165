"""Move the mean head to the population's mean face, as photos show it.

anny's sliders have no data on how frequent their settings are, so the average of random heads is a plausible face but not
the average one: its mouth sits lower and its cheeks are wider than in photos. The shapes that the model can take stay the
same; only the point that has coefficient zero moves.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from facerecon.morphable.schemes import MEDIAPIPE478_GROUPS as GROUPS

# The contour slides with pose and hair, brows move with expression: little or no say.
CONTOUR_WEIGHT, BROW_WEIGHT = 0.15, 0.0
# Trust in a median landmark, in iris distances, against one standard deviation of a mode. Its real error is smaller, but
# that of the embedding is not.
NOISE = 0.05
LARGEST = 1.5
FARTHEST = 0.6


def read_population(path: Path, scheme: str = "mediapipe478") -> np.ndarray:
    """(N, 2) median landmark places of real neutral frontal faces in the eye frame (see measure_population.py)."""
    return np.array(json.loads(path.read_text(encoding="utf-8"))[scheme]["median"])


def population_offset(points: np.ndarray, basis: np.ndarray, symmetric: np.ndarray, target: np.ndarray, *,
                      rounds: int = 8) -> tuple[np.ndarray, dict[str, float]]:
    """Identity coefficients (K,) of the population's mean face.

    Args:
        points: (478, 3) landmarks of the present mean, mm.
        basis: (K, 478, 3) identity basis at the landmarks.
        symmetric: (K,) bool; only symmetric modes move.
        target: (478, 2) in the eye frame.

    Returns:
        The coefficients, each within 1.5, and the root mean square distance to the target before and after, in iris
        distances. Scale, place and pitch of the head are free: a photo fixes none of them.
    """
    weight = np.ones(478)
    weight[list(GROUPS["oval"])] = CONTOUR_WEIGHT
    weight[list(GROUPS["right brow"] + GROUPS["left brow"])] = BROW_WEIGHT
    root = np.sqrt(weight)[:, None]
    modes = np.flatnonzero(symmetric)
    coefficients = np.zeros(len(basis))
    pitch, report = 0.0, {}
    for step in range(rounds):
        shape = points + np.tensordot(coefficients, basis, 1)
        turned, derivative = _turn(shape, pitch)
        scale, shift = _similarity(turned[:, :2], target, weight)
        residual = target - (scale * turned[:, :2] + shift)
        error = float(np.sqrt((weight * (residual ** 2).sum(1)).sum() / weight.sum()))
        report["before" if step == 0 else "after"] = error
        columns = [scale * _turn(basis[mode], pitch)[0][:, :2] for mode in modes]
        columns += [scale * derivative[:, :2], turned[:, :2], np.tile([1.0, 0.0], (478, 1)), np.tile([0.0, 1.0], (478, 1))]
        system = np.stack([(root * column).ravel() for column in columns], axis=1)
        prior = np.zeros(len(columns))
        prior[:len(modes)] = NOISE ** 2
        gradient = system.T @ (root * residual).ravel() - prior * np.append(coefficients[modes], np.zeros(4))
        update = np.linalg.solve(system.T @ system + np.diag(prior) + 1e-12 * np.eye(len(columns)), gradient)
        coefficients[modes] = np.clip(coefficients[modes] + update[:len(modes)], -LARGEST, LARGEST)
        pitch += float(np.clip(update[len(modes)], -0.1, 0.1))
    report["pitch_deg"] = float(np.degrees(pitch))
    return coefficients, report


def iris_shift(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """How far (3,) mm the left eyeball should move to put its iris where photos show it between the lids.

    The lids are matched to the photos' lids by a similarity; depth stays. At most `FARTHEST`, or the ball would show beside
    the lids.
    """
    lids = np.zeros(478)
    lids[list(GROUPS["right eye"] + GROUPS["left eye"])] = 1
    scale, shift = _similarity(points[:, :2], target, lids)
    irises = np.array([468, 473])
    gap = (target[irises] - shift) / scale - points[irises, :2]
    return np.clip([(gap[1, 0] - gap[0, 0]) / 2, gap[:, 1].mean(), 0.0], -FARTHEST, FARTHEST)


def _turn(points: np.ndarray, pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (..., 3) turned about x, and their derivative by the angle."""
    sine, cosine = np.sin(pitch), np.cos(pitch)
    y, z = points[..., 1], points[..., 2]
    turned = np.stack([points[..., 0], cosine * y - sine * z, sine * y + cosine * z], axis=-1)
    derivative = np.stack([np.zeros_like(y), -sine * y - cosine * z, cosine * y - sine * z], axis=-1)
    return turned, derivative


def _similarity(source: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    total = weight.sum()
    middle, goal = weight @ source / total, weight @ target / total
    scale = float((weight[:, None] * (source - middle) * (target - goal)).sum() /
                  (weight[:, None] * (source - middle) ** 2).sum())
    return scale, goal - scale * middle
