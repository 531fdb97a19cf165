"""Things between camera and face: hands, boards, cups, leaves; drawn over the finished picture."""

from __future__ import annotations

import cv2
import numpy as np

KINDS = ("hand", "ellipse", "polygon", "bar")
SHARE = 0.25


def occlude(picture: np.ndarray, generator: np.random.Generator, skin: np.ndarray) -> np.ndarray:
    """Cover part of a picture (S, S, 3) float32 in three out of four calls nothing, else one or two things; a copy.

    Args:
        skin: (3,) colour of a hand, as it looks under the picture's light.
    """
    if generator.uniform() >= SHARE:
        return picture
    for _ in range(1 + (generator.uniform() < 0.25)):
        kind = KINDS[generator.integers(len(KINDS))]
        mask, shade = (_hand if kind == "hand" else _thing)(generator, len(picture), kind)
        picture = picture + mask[..., None] * (_surface(generator, len(picture), kind, skin) * shade[..., None] - picture)
    return picture


def _surface(generator: np.random.Generator, size: int, kind: str, skin: np.ndarray) -> np.ndarray:
    """Colours (S, S, 3) of what is drawn."""
    if kind == "hand":
        grain = cv2.resize(generator.normal(size=(24, 24)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        return np.clip(skin * (1 + 0.03 * grain[..., None]), 0, 1).astype(np.float32)
    base = np.clip(generator.uniform(0.05, 0.9) + 0.12 * generator.normal(size=3), 0.02, 0.98)
    cells = int(generator.integers(3, 28))
    grain = generator.normal(size=(cells, cells, 1)) + 0.4 * generator.normal(size=(cells, cells, 3))
    strength = generator.uniform(0.0, 0.2)
    return np.clip(base + strength * cv2.resize(grain.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)


def _place(generator: np.random.Generator, size: int) -> tuple[np.ndarray, float]:
    """A centre around the edge of the face, and the direction (radians) from the middle to it."""
    angle = generator.uniform(-np.pi, np.pi)
    middle = (size - 1) / 2 + generator.uniform(0.18, 0.42) * size * np.array([np.cos(angle), np.sin(angle)])
    return middle, angle


def _thing(generator: np.random.Generator, size: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Mask (S, S) with a smooth edge, and brightness (S, S)."""
    mask = np.zeros((size, size), np.float32)
    centre, angle = _place(generator, size)
    if kind == "ellipse":
        axes = generator.uniform(0.07, 0.22, 2) * size
        around = np.linspace(0, 2 * np.pi, 40)
        outline = np.stack([axes[0] * np.cos(around), axes[1] * np.sin(around)], -1)
    elif kind == "bar":
        half = np.array([generator.uniform(0.3, 0.8), generator.uniform(0.02, 0.09)]) * size
        outline = half * [[-1, -1], [1, -1], [1, 1], [-1, 1]]
    else:
        corners = int(generator.integers(3, 9))
        around = np.sort(generator.uniform(0, 2 * np.pi, corners))
        outline = generator.uniform(0.1, 0.28, (corners, 1)) * size * np.stack([np.cos(around), np.sin(around)], -1)
    turn = generator.uniform(-np.pi, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    cv2.fillPoly(mask, [np.rint(16 * (outline @ rotation.T + centre)).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), generator.uniform(0.4, 1.2) * size / 192), _ramp(generator, size)


def _hand(generator: np.random.Generator, size: int, _: str) -> tuple[np.ndarray, np.ndarray]:
    """A palm that comes in from outside and fingers that reach over the face, rounded by shading."""
    centre, angle = _place(generator, size)
    towards = -np.array([np.cos(angle), np.sin(angle)]) if generator.uniform() < 0.7 else np.array([0.0, -1.0])
    aside = np.array([-towards[1], towards[0]])
    thick = generator.uniform(0.035, 0.05) * size
    mask, height = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)

    def limb(start: np.ndarray, end: np.ndarray, width: float) -> None:
        ends = [tuple(np.rint(16 * point).astype(int).tolist()) for point in (start, end)]
        one = np.zeros((size, size), np.float32)
        cv2.line(one, *ends, 1.0, max(1, round(2 * width)), cv2.LINE_AA, 4)
        rounded = cv2.GaussianBlur(one, (0, 0), 0.45 * width)
        inside = one > 0.5
        height[inside] = rounded[inside]
        np.maximum(mask, one, out=mask)

    wrist = centre - towards * 0.6 * size
    limb(wrist, centre - 1.5 * thick * towards, 2.0 * thick)
    for finger in range(4):
        root = centre + aside * thick * 1.9 * (finger - 1.5) - towards * thick
        spread = towards + 0.12 * (finger - 1.5) * aside * generator.uniform(0, 1.5)
        limb(root, root + spread * thick * generator.uniform(4.2, 6.0) * (1 - 0.12 * abs(finger - 1.3)), thick)
    shade = 0.55 + 0.55 * np.clip(height, 0, 1)
    return cv2.GaussianBlur(mask, (0, 0), 0.6 * size / 192), shade * _ramp(generator, size)


def _ramp(generator: np.random.Generator, size: int) -> np.ndarray:
    """Brightness that falls off along one direction."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    slope = 0.2 * generator.normal(size=2)
    return (1 + slope[0] * axis[None] + slope[1] * axis[:, None]).astype(np.float32)
