"""Hair: a surface over the cranium that ends at a hairline, cropped, or falling to the shoulders."""

from __future__ import annotations

import numpy as np

from facerecon.morphable.model import MorphableModel
from facerecon.synthesis.pieces import Piece, grid_piece, smooth_noise

COLUMNS, ROWS = 144, 34
# The middle of the cranium in the open model, from which hair grows.
CENTRE = np.array([0.0, 38.0, -62.0])
# Polar angle at which long hair leaves the head.
LEAVES_DEG = 100.0
STYLES = ("none", "shaven", "short", "medium", "bob", "long")
SHARES = (0.06, 0.12, 0.32, 0.2, 0.12, 0.18)


def add_hair(picture: np.ndarray, generator: np.random.Generator, cranium: np.ndarray, radius: float) -> np.ndarray:
    """A ball of hair round the cranium (2,) px, behind whatever face is drawn next; (H, W, 3) float32, not clipped."""
    import cv2

    hair = np.array([[0.07, 0.05, 0.04], [0.23, 0.14, 0.08], [0.45, 0.33, 0.18], [0.4, 0.4, 0.4]])[generator.integers(4)]
    ball = np.zeros(picture.shape[:2], np.float32)
    cv2.circle(ball, tuple(np.rint(16 * cranium).astype(int).tolist()), int(16 * radius), 1.0, -1, cv2.LINE_AA, 4)
    strands = 1 + 0.8 * cv2.GaussianBlur(generator.normal(size=ball.shape).astype(np.float32), (0, 0), 1.2)
    return np.ascontiguousarray(picture + ball[..., None] * (hair * strands[..., None] - picture), dtype=np.float32)


class Cranium:
    """Directions in which the surface of a head is measured, so that hair fits any head of the model.

    Args:
        model: a whole head, with masks "scalp" and "ears".
    """

    def __init__(self, model: MorphableModel) -> None:
        import scipy.spatial

        masks = model.masks
        inner = masks["mouth"] | masks["eyes"] | masks["ears"]
        self._outer = np.flatnonzero(~inner.numpy())
        away = model.mean.numpy()[self._outer] - CENTRE
        tree = scipy.spatial.cKDTree(away / np.linalg.norm(away, axis=1, keepdims=True))
        # Azimuth 0 is the face, growing to the subject's left; the polar angle counts from the crown.
        self.azimuth = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
        polar = np.linspace(0, np.pi * 0.82, 48)
        self._polar = polar
        distance, self._near = tree.query(_direction(polar[:, None], self.azimuth[None]), k=4)
        weight = 1 / (distance + 0.02)
        self._weight = weight / weight.sum(-1, keepdims=True)

    def radius(self, vertices: np.ndarray) -> np.ndarray:
        """(48, COLUMNS) mm from the centre to the surface of a head (V, 3), smoothed."""
        import cv2

        away = np.linalg.norm(vertices[self._outer] - CENTRE, axis=1)
        found = (self._weight * away[self._near]).sum(-1)
        wide = np.concatenate([found[:, -4:], found, found[:, :4]], axis=1).astype(np.float32)
        return cv2.GaussianBlur(wide, (0, 0), 1.0)[:, 4:-4]

    def style(self, generator: np.random.Generator, vertices: np.ndarray, colour: np.ndarray) -> Piece | None:
        """Random hair for one head (V, 3) mm, or None for a bare one."""
        style = STYLES[generator.choice(len(STYLES), p=SHARES)]
        if style in ("none", "shaven"):
            return None
        thick = {"short": generator.uniform(3, 11), "medium": generator.uniform(11, 24), "bob": generator.uniform(12, 24),
                 "long": generator.uniform(10, 22)}[style]
        fringe = generator.uniform() < (0.12 if style == "short" else 0.3)
        end = self._hairline(generator, style, fringe)
        # Rows run from the crown to the end of the hair; long hair leaves the head at the height of the ears and falls.
        along = np.linspace(0, 1, ROWS)[:, None]
        polar = along * end
        radius = _sampled(self.radius(vertices), self._polar, polar)
        rim = 0.12 if fringe else 0.05
        body = np.clip((1 - along) / rim, 0, 1) ** 0.6 if style in ("short", "medium") else np.ones_like(along)
        front = np.cos(self.azimuth)[None].clip(0, 1)
        body = body * (1 - front) + front * np.clip((1 - along) / (0.3 * (1 - 0.6 * fringe)), 0, 1) ** 0.6
        locks = 1 + 0.15 * smooth_noise(generator, (ROWS, COLUMNS), (5, 14)) + 0.05 * generator.normal(size=(1, COLUMNS))
        distance = radius + (1.0 + thick * body) * locks
        points = CENTRE + _direction(polar, np.broadcast_to(self.azimuth, polar.shape)) * distance[..., None]
        between = np.zeros(COLUMNS)
        if style in ("bob", "long"):
            points, hangs = self._falling(generator, points, end, style)
            between = (hangs > 0) & (hangs < 1)
        strands = 1 + 0.17 * generator.normal(size=(1, COLUMNS)) + 0.15 * smooth_noise(generator, (ROWS, COLUMNS), (8, 60))
        shade = 0.7 + 0.45 * body * np.linspace(1, 0.75, ROWS)[:, None]
        albedo = np.clip(colour * (strands * shade)[..., None], 0.01, 1)
        # Strands end at different places: the last rows fade one by one.
        ends = (1 - along + 0.05 * generator.normal(size=(1, COLUMNS)) - 0.02) / generator.uniform(0.05, 0.12)
        if not fringe:
            # Combed back it starts thin, strand by strand.
            ends = np.where(front > 0.5, ends / generator.uniform(1.0, 1.8), ends)
        # Where hair leaves the head its surface is folded, and nothing but more hair lies behind it.
        opacity = np.where(between[None] > 0, 1.0, np.clip(ends, 0, 1))
        return grid_piece(points, albedo, closed=True, gloss=0.12, opacity=opacity)

    def _hairline(self, generator: np.random.Generator, style: str, fringe: bool) -> np.ndarray:
        """(1, COLUMNS) polar angle at which hair ends: the brow's height with a fringe, a sideburn, the nape."""
        degrees = np.abs(np.degrees(self.azimuth))
        high = generator.uniform(68, 80) if fringe else generator.uniform(50, 60)
        temple = max(high + 2, generator.uniform(68, 78))
        burn = generator.uniform(92, 108)
        above = min(burn, 97.0) if style == "short" else generator.uniform(97, 112)
        behind, nape = (108.0, 124.0) if style == "short" else (120.0, 134.0)
        end = np.interp(degrees, [0, 28, 46, 60, 73, 80, 88, 100, 112, 128, 180],
                        [high, high + 3, temple, temple + 9, burn, burn, above, above + 2, behind, nape, nape + 4])
        end += (2.5 if fringe else 1.2) * generator.normal(size=COLUMNS) * (0.4 + 0.6 * (degrees < 50))
        return np.radians(end + generator.uniform(-1, 1) * 6 * np.sin(self.azimuth) * (degrees < 60))[None]

    def _falling(self, generator: np.random.Generator, points: np.ndarray, end: np.ndarray,
                 style: str) -> tuple[np.ndarray, np.ndarray]:
        """Below the widest place hair hangs down, behind the ears or before them: points, and how much of each column."""
        length = generator.uniform(60, 110) if style == "bob" else generator.uniform(150, 260)
        degrees = np.abs(np.degrees(self.azimuth))
        start = generator.uniform(68, 100)
        hangs = np.clip((degrees - start) / 14, 0, 1)
        # The last rows belong to what hangs; the first follow the cranium to the height of the ears.
        top = ROWS // 2
        leaves = np.minimum(1.0, LEAVES_DEG / np.degrees(end[0])) * (ROWS - 1)
        place = (np.linspace(0, 1, top)[:, None] * leaves).clip(0, ROWS - 1.001)
        low, column = place.astype(int), np.arange(COLUMNS)
        part = (place - low)[..., None]
        head = (1 - part) * points[low, column] + part * points[low + 1, column]
        down = np.linspace(0, 1, ROWS - top + 1)[1:, None]
        fallen = np.repeat(head[-1:], ROWS - top, axis=0)
        fallen[..., 1] -= down * length * hangs
        spread = 0.12 * np.linspace(0, 1, ROWS - top)[:, None, None] ** 2
        fallen[..., [0, 2]] += spread * (fallen[..., [0, 2]] - CENTRE[[0, 2]])
        points = np.where((hangs > 0)[:, None], np.concatenate([head, fallen]), points)
        return points, hangs


def _direction(polar: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    sine = np.sin(polar)
    return np.stack(np.broadcast_arrays(sine * np.sin(azimuth), np.cos(polar), sine * np.cos(azimuth)), -1)


def _sampled(values: np.ndarray, polar: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Columns of values (48, C) at polar angles (R, C), linearly."""
    place = np.clip(np.interp(wanted, polar, np.arange(len(polar))), 0, len(polar) - 1.001)
    low = place.astype(int)
    column = np.broadcast_to(np.arange(values.shape[1]), low.shape)
    return values[low, column] + (place - low) * (values[low + 1, column] - values[low, column])
