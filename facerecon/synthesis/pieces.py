"""Meshes that a head model lacks: grids of points that become a body, hair, teeth or glasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Piece:
    """A coloured mesh in the head's model space.

    Attributes:
        vertices: (n, 3) mm.
        faces: (m, 3) int64.
        albedo: (n, 3), RGB in [0, 1].
        gloss: strength of its highlight.
        opacity: (n,) in [0, 1]; what is not opaque is laid over the picture where it is nearest.
    """

    vertices: np.ndarray
    faces: np.ndarray
    albedo: np.ndarray
    gloss: float = 0.0
    opacity: np.ndarray | None = None


def grid_faces(rows: int, columns: int, *, closed: bool) -> np.ndarray:
    """Triangles (m, 3) of a grid of rows x columns points; `closed` joins the last column to the first."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    after = (column + 1) % columns
    a, b = row * columns + column, row * columns + after
    c, d = a + columns, b + columns
    return np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])


def grid_piece(points: np.ndarray, albedo: np.ndarray, *, closed: bool, gloss: float = 0.0,
               opacity: np.ndarray | float | None = None) -> Piece:
    """A piece from points (rows, columns, 3) mm, with colours and opacity that broadcast to them."""
    rows, columns = points.shape[:2]
    clear = None if opacity is None else np.broadcast_to(opacity, (rows, columns)).reshape(-1)
    return Piece(points.reshape(-1, 3), grid_faces(rows, columns, closed=closed),
                 np.broadcast_to(albedo, points.shape).reshape(-1, 3), gloss, clear)


def joined(pieces: Sequence[Piece]) -> tuple[Piece, np.ndarray]:
    """One mesh of several, and the gloss (n,) of each of its vertices."""
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)])
    opacity = np.concatenate([np.ones(len(piece.vertices)) if piece.opacity is None else piece.opacity for piece in pieces])
    whole = Piece(np.concatenate([piece.vertices for piece in pieces]),
                  np.concatenate([piece.faces + start for piece, start in zip(pieces, starts)]),
                  np.concatenate([piece.albedo for piece in pieces]), opacity=opacity)
    return whole, np.repeat([piece.gloss for piece in pieces], np.diff(starts))


def smooth_noise(generator: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> np.ndarray:
    """Noise (rows, columns) of about unit strength that changes over `cells` cells along each axis."""
    import cv2

    noise = generator.normal(size=cells).astype(np.float32)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC)
