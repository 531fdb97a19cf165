"""What the synthetic pictures of several scripts share: backgrounds, hair, light. Every draw comes from the given generator."""

from __future__ import annotations

import numpy as np


def background(generator: np.random.Generator, size: int) -> np.ndarray:
    """Smooth, mostly grey noise, (size, size, 3) in [0, 1]."""
    import cv2

    picture = np.full((size, size, 3), generator.uniform(0.3, 0.7) + generator.uniform(-0.08, 0.08, 3))
    for cells, strength in ((3, 0.14), (9, 0.06), (40, 0.03)):
        noise = generator.normal(size=(cells, cells, 1)) + 0.35 * generator.normal(size=(cells, cells, 3))
        picture += strength * cv2.resize(noise.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 1)


def add_hair(picture: np.ndarray, generator: np.random.Generator, cranium: np.ndarray, radius: float) -> np.ndarray:
    """A ball of hair round the cranium (2,) px, behind whatever face is drawn next; (H, W, 3) float32, not clipped."""
    import cv2

    hair = np.array([[0.07, 0.05, 0.04], [0.23, 0.14, 0.08], [0.45, 0.33, 0.18], [0.4, 0.4, 0.4]])[generator.integers(4)]
    ball = np.zeros(picture.shape[:2], np.float32)
    cv2.circle(ball, tuple(np.rint(16 * cranium).astype(int).tolist()), int(16 * radius), 1.0, -1, cv2.LINE_AA, 4)
    strands = 1 + 0.8 * cv2.GaussianBlur(generator.normal(size=ball.shape).astype(np.float32), (0, 0), 1.2)
    return np.ascontiguousarray(picture + ball[..., None] * (hair * strands[..., None] - picture), dtype=np.float32)


def random_light(generator: np.random.Generator) -> np.ndarray:
    """Spherical harmonics (9, 3): mostly from the front and above, a little coloured."""
    light = np.zeros((9, 3))
    light[0] = generator.uniform(2.3, 3.1)
    light[1], light[2], light[3] = generator.uniform(0.0, 0.5), generator.uniform(0.3, 0.7), generator.uniform(-0.5, 0.5)
    light[4:] = generator.normal(size=(5, 1)) * 0.08
    return light * (1 + 0.06 * generator.normal(size=3))
