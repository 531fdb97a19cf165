"""What surrounds a head in a photo: neck and shoulders in clothes, teeth, glasses."""

from __future__ import annotations

import numpy as np
import torch

from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.geometry.rotations import euler_deg_to_matrix_aflw, matrix_to_euler_deg_aflw
from facerecon.morphable.model import MorphableModel
from facerecon.synthesis.pieces import Piece, grid_piece, joined, smooth_noise

RIM = 48
TEETH = 14


class Neck:
    """Continues a head model below its open rim.

    Args:
        model: a whole head with a mask "neck", whose lowest edge is a loop.
    """

    def __init__(self, model: MorphableModel) -> None:
        self._loop = open_rim(model)
        # The skin a little above the rim has the colour that goes on below.
        self._skin = np.flatnonzero(model.masks["neck"].numpy())

    def shoulders(self, generator: np.random.Generator, vertices: np.ndarray, albedo: np.ndarray,
                  pose: ScaledOrthographicPose) -> Piece:
        """Neck, shoulders and clothes of a head (V, 3) mm with albedo (V, 3); the body turns less than the head does."""
        rim = vertices[self._loop]
        centre = rim.mean(axis=0)
        away = rim - centre
        order = np.argsort(np.arctan2(away[:, 0], away[:, 2]))
        angles = np.arctan2(away[order, 0], away[order, 2])
        wanted = np.linspace(-np.pi, np.pi, RIM, endpoint=False)
        rim, edge = (np.stack([np.interp(wanted, angles, values[order, axis], period=2 * np.pi) for axis in range(3)], -1)
                     for values in (rim, albedo[self._loop]))
        turn = _untwist(generator, pose)
        ring = np.stack([np.sin(wanted), np.zeros(RIM), np.cos(wanted)], -1)
        collar = generator.uniform(4, 40)
        skin = np.median(albedo[self._skin], axis=0)
        cloth = np.clip(generator.uniform(0.05, 0.85) * (1 + 0.2 * generator.normal(size=3)), 0.02, 0.95)
        width, drop = generator.uniform(185, 235), generator.uniform(55, 85)
        # Depth below the rim, half width, half depth, and how far the ring follows the body rather than the head.
        table = [(6, 0, 0, 0.1), (collar, 0, 0, 0.5), (collar + 3, 66, 62, 0.9), (drop * 0.6 + collar, 105, 72, 1),
                 (drop + collar, width - 20, 84, 1), (drop + collar + 25, width, 90, 1),
                 (drop + collar + 300, width + 10, 110, 1)]
        # The first ring lies a little above the rim and inside, so that no gap shows.
        rings = [centre + (rim - centre) * 0.985 + [0, 4, 0], rim]
        colours = [edge, edge]
        for depth, wide, deep, follow in table:
            base = (rim - centre) * [1, 0.2, 1] if wide == 0 else ring * [wide, 0, deep]
            straight = base + [0, -depth, 0]
            rings.append(centre + (1 - follow) * straight + follow * straight @ turn.T)
            colours.append(0.6 * edge + 0.4 * skin if depth == 6 else np.broadcast_to(skin if wide == 0 else cloth, (RIM, 3)))
        pattern = 1 + 0.08 * smooth_noise(generator, (len(rings), RIM), (3, 9))
        return grid_piece(np.stack(rings), np.clip(np.stack(colours) * pattern[..., None], 0, 1), closed=True)


def open_rim(model: MorphableModel) -> np.ndarray:
    """Vertices of the lowest loop of edges that only one face has."""
    faces = model.faces.numpy()
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    rim = np.unique(unique[count == 1])
    height = model.mean.numpy()[rim, 1]
    return rim[height < height.min() + 60] if len(rim) else rim


def _untwist(generator: np.random.Generator, pose: ScaledOrthographicPose) -> np.ndarray:
    """(3, 3) from a body that looks less aside than its head, to the head's model space."""
    angles = [float(angle) for angle in matrix_to_euler_deg_aflw(pose.rotation)]
    share = [generator.uniform(0.0, 0.35), generator.uniform(0.35, 1.0), generator.uniform(0.0, 0.3)]
    body = euler_deg_to_matrix_aflw(*torch.tensor([angle * part for angle, part in zip(angles, share)], dtype=torch.float32))
    return (pose.rotation.mT @ body).numpy().astype(np.float64)


def upper_teeth(generator: np.random.Generator, lips: np.ndarray) -> Piece:
    """The upper row, seen only where the lips part; `lips` (20, 3) mm are iBUG points 48 to 67 of the neutral face."""
    corner = (lips[16] - lips[12]) / 2
    middle = (lips[12] + lips[16]) / 2
    wide = 0.92 * np.linalg.norm(corner)
    x = np.linspace(-1, 1, 6 * TEETH + 1)
    tooth = np.abs(((x + 1) / 2 * TEETH) % 1 - 0.5) * 2
    front = lips[14, 2] - generator.uniform(9, 11)
    low = lips[14, 1] - generator.uniform(3.0, 6.5)
    edge = low + 1.2 * tooth**4 + 2.5 * x**2
    points = np.stack([np.stack([middle[0] + wide * x, np.full_like(x, lips[14, 1] + 9.0), front - 1 - 20 * x**2], -1),
                       np.stack([middle[0] + wide * x, edge, front - 19 * x**2], -1)])
    # Lips and cheeks keep most of the light away.
    white = np.array([0.80, 0.76, 0.67]) * generator.uniform(0.5, 0.78)
    albedo = white * (0.95 - 0.5 * x**2 - 0.25 * (tooth > 0.85))[:, None]
    rows = np.stack([points[0], (points[0] + points[1]) / 2, points[1]])
    return grid_piece(rows, np.stack([albedo * [0.8, 0.55, 0.55], albedo, albedo]), closed=False, gloss=0.08)


def glasses(generator: np.random.Generator, points: np.ndarray) -> Piece:
    """Spectacles or sunglasses on a face with iBUG points (68, 3) mm: two lenses in frames, bridge, and temples to the ears."""
    dark = generator.uniform() < 0.6
    frame = np.full(3, 0.05) if generator.uniform() < 0.6 else generator.uniform(0.1, 0.6, 3)
    glass = generator.uniform(0.01, 0.12, 3)
    half = np.array([generator.uniform(23, 28), generator.uniform(15, 22)])
    power = generator.uniform(2, 4)
    around = np.linspace(-np.pi, np.pi, 40, endpoint=False)
    shape = np.stack([np.sign(np.cos(around)) * np.abs(np.cos(around)) ** (2 / power),
                      np.sign(np.sin(around)) * np.abs(np.sin(around)) ** (2 / power)], -1)
    pieces = []
    front = points[27, 2] + 1.0
    for eye, ear, side in ((points[36:42], points[0], -1.0), (points[42:48], points[16], 1.0)):
        middle = eye.mean(axis=0) + [side * 1.5, -1.5, 0]

        def ring(share: float) -> np.ndarray:
            flat = share * half * shape
            bend = np.abs(middle[0] + flat[:, 0])
            return np.stack([middle[0] + flat[:, 0], middle[1] + flat[:, 1], front - 0.0035 * bend**2], -1)

        lens = np.stack([ring(0.02), ring(0.5), ring(0.96)])
        opacity = generator.uniform(0.85, 0.98) if dark else generator.uniform(0.04, 0.12)
        pieces.append(grid_piece(lens, glass if dark else np.ones(3), closed=True, gloss=0.6, opacity=opacity))
        pieces.append(grid_piece(np.stack([ring(0.95), ring(1.1)]), frame, closed=True, gloss=0.3))
        outer = middle[0] + side * half[0]
        hinge = np.array([outer + side * 0.05 * half[0], middle[1] + 0.4 * half[1], front - 0.0035 * outer**2])
        tip = np.array([ear[0] + side * 3.0, hinge[1] + 2, ear[2] - 18.0])
        bar = np.stack([hinge + t * (tip - hinge) for t in np.linspace(0, 1, 6)])
        pieces.append(grid_piece(np.stack([bar + [0, 2.2, 0], bar - [0, 2.2, 0]]), frame, closed=False))
    x = np.linspace(points[39, 0], points[42, 0], 8)
    bridge = np.stack([x, np.full_like(x, points[27, 1] + 2), np.full_like(x, front + 1.5)], -1)
    pieces.append(grid_piece(np.stack([bridge + [0, 1.8, 0], bridge - [0, 1.8, 0]]), frame, closed=False))
    whole, gloss = joined(pieces)
    return Piece(whole.vertices, whole.faces, whole.albedo, float(gloss.max()), whole.opacity)
