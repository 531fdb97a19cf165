"""What a camera does to a scene: focus, motion, exposure, white balance, noise, compression."""

from __future__ import annotations

import cv2
import numpy as np


def photograph(picture: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, int]:
    """A scene (S, S, 3) float in [0, 1] as a camera gives it: (uint8 (S, S, 3), JPEG quality).

    Two pictures of three are sharp; noise is stronger in the dark; one in twenty has no colour.
    """
    size = len(picture)
    picture = np.asarray(picture, np.float32)
    if generator.uniform() < 0.35:
        picture = _blurred(picture, generator, size / 192)
    # White balance errs between warm and cold, hardly between green and pink.
    warmth, exposure = 0.045 * generator.normal() * np.array([1, 0.1, -1.1]), 0.08 * generator.normal()
    balance = np.exp(warmth + exposure + 0.012 * generator.normal(size=3))
    picture = np.clip(picture * balance.astype(np.float32), 0, None)
    picture = _tone(picture, generator)
    noise = generator.exponential(0.008) + 0.002
    grain = generator.standard_normal(picture.shape, np.float32)
    if generator.uniform() < 0.4:
        # Sensors are seldom as fine as the picture: grain covers more than one pixel.
        grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 2.0
    picture = picture + grain * (noise * (1.5 - np.clip(picture, 0, 1)))
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8), int(np.clip(100 - generator.exponential(14), 40, 98))


def _blurred(picture: np.ndarray, generator: np.random.Generator, unit: float) -> np.ndarray:
    kind = generator.integers(3)
    if kind == 0:
        return cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.4, 1.8) * unit)
    if kind == 1:
        length, angle = generator.uniform(2, 7) * unit, generator.uniform(0, np.pi)
        side = 2 * int(np.ceil(length / 2)) + 1
        kernel = np.zeros((side, side), np.float32)
        reach = length / 2 * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(np.rint(16 * ((side - 1) / 2 + sign * reach)).astype(int).tolist()) for sign in (-1, 1)]
        cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_AA, 4)
        return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    # A face that was small in its photo and is enlarged.
    side, small = len(picture), max(16, int(len(picture) * generator.uniform(0.3, 0.8)))
    reduced = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, (side, side), interpolation=cv2.INTER_CUBIC)


def _tone(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Contrast, gamma and saturation; bright light runs softly into white."""
    gamma, contrast, saturation = np.exp(0.1 * generator.normal()), 1 + 0.1 * generator.normal(), 1 + 0.13 * generator.normal()
    if generator.uniform() < 0.05:
        saturation = 0.0
    picture = np.where(picture > 0.8, 0.8 + 0.2 * np.tanh((picture - 0.8) / 0.2 * 0.8) / np.float32(0.9), picture)
    picture = np.clip(0.5 + contrast * (picture - 0.5), 0, 1) ** np.float32(gamma)
    grey = picture.mean(-1, keepdims=True)
    return np.clip(grey + np.float32(max(saturation, 0.0)) * (picture - grey), 0, 1)
