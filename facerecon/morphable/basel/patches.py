"""The vertex order of the Basel face 2009, and the surface that it implies.

The Basel vertices are the points of five grids: a central square of 129 x 129 over the face, and four fans around it that
share its border and each other's diagonals. Every grid is stored line by line, so the order alone says which vertices are
neighbours. Distributions that carry shapes and no triangles (the 3DDFA arrays) get their surface from here, and the full
model its index map to the 53,215 vertices that Zhu's package keeps.

In the grids' plane the square spans [-64, 64] x [-64, 64]; the fan at distance r ends in the square of half side 64 + r. The
plane is one to one, so it serves as a texture atlas too.

Order of the full model (53,490): 128 columns of the square from left to right, each from top to bottom; the left fan from
outside to inside and the right fan from inside to outside, each line from top to bottom; the top fan from left to right, each
line from outside to inside; the bottom fan from left to right, each line from inside to outside. Column 128 of the square is
line 0 of the right fan. Side lines end at the bottom diagonal, except three that the border of the scan cuts on both sides.
Zhu's 53,215 lack the 275 points that close the mouth.
"""

from __future__ import annotations

import functools

import numpy as np

FULL = 53490
TRIMMED = 53215
_SIDE = 129
_REACH = 113
# Column of the square -> (first row, how many rows) of the strip between the lips.
_MOUTH = {47: (104, 1), 48: (103, 3), 49: (102, 6), 50: (101, 7), 51: (101, 7), 52: (101, 7), 53: (101, 8),
          **{column: (101, 9) for column in range(54, 77)},
          77: (101, 8), 78: (101, 7), 79: (101, 6), 80: (101, 4), 81: (100, 3), 82: (101, 1)}
# Lengths of the side fans' lines beyond the complete ones, from inside to outside.
_SIDE_LINES = (127, 124, 123, 120, 117, 116, 113, 110, 107, 102, 99, 96, *range(93, 65, -1), *range(63, 52, -1), 50, 49, 48, 45,
               44, 43, 42, 41, 38, 31, 23, 13)
_SIDE_START = {31: 96, 23: 101, 13: 104}
# Lengths of the first 64 lines of the top and bottom fans; the other 63 mirror them.
_TOP_LINES = (49, 48, 47, 46, 45, 44, 44, 44, 43, 42, 41, 41, 41, 40, 39, 38, 38, 38, 37, 37, 37, 36, 35, 35, 35, 34, 34, 34, 33,
              33, 33, 32, 32, 32, 31, 31, 31, 30, 30, 30, 29, 29, 29, 28, 28, 28, 28, 28, 27, 27, 27, 27, 27, 27, 27,
              *([26] * 9))
_BOTTOM_LINES = (109, 108, 108, 108, 107, 106, 105, 104, 104, 104, *range(103, 65, -1), *([65] * 16))


def trim_index() -> np.ndarray:
    """(53215,) int64: for every vertex of Zhu's topology its index in the full model, 0-based and rising."""
    removed = [column * _SIDE + row for column, (first, count) in _MOUTH.items() for row in range(first, first + count)]
    return np.delete(np.arange(FULL), removed)


def patch_plane(vertex_count: int) -> np.ndarray:
    """(V, 2) float64: every vertex's place in the grids' plane, x to the image's right and y up, for 53,215 or 53,490."""
    plane = np.zeros((FULL, 2))
    half = (_SIDE - 1) / 2
    step = np.arange(_SIDE) / half - 1
    for name, grid in _grids().items():
        line, along = np.nonzero(grid >= 0)
        reach = half + line
        sign = -1.0 if name in ("left", "bottom") else 1.0
        if name == "centre":
            place = np.stack([along - half, half - line], axis=1)
        elif name in ("left", "right"):
            place = np.stack([sign * reach, -step[along] * reach], axis=1)
        else:
            place = np.stack([step[along] * reach, sign * reach], axis=1)
        plane[grid[line, along]] = place
    return plane if vertex_count == FULL else plane[trim_index()]


def patch_mirror(vertex_count: int) -> np.ndarray:
    """(V,) int64: the vertex at the mirrored place, for 53,215 or 53,490; the nearest one where the border cuts it off."""
    import scipy.spatial

    plane = patch_plane(vertex_count)
    return scipy.spatial.cKDTree(plane).query(plane * (-1.0, 1.0))[1].astype(np.int64)


def patch_faces(vertices: np.ndarray) -> np.ndarray:
    """The surface over (V, 3) vertices in the Basel order, V = 53,215 or 53,490.

    Each grid cell becomes two triangles along its shorter diagonal, and a cell with one corner missing becomes one.

    Returns:
        (F, 3) int64, counter-clockwise seen from outside.
    """
    kept = np.arange(FULL) if len(vertices) == FULL else trim_index()
    local = np.full(FULL + 1, -1, dtype=np.int64)
    local[kept] = np.arange(len(kept))
    faces = []
    for name, grid in _grids().items():
        grid = local[grid]
        cell = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=-1).reshape(-1, 4)
        # Lines of the square and the bottom fan go down and those of the left fan go left: counter-clockwise as they are.
        faces.append(_split(cell[:, ::-1] if name in ("right", "top") else cell, vertices))
    return np.concatenate(faces)


def _split(cell: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    missing = (cell < 0).sum(axis=1)
    whole = cell[missing == 0]
    first = ((vertices[whole[:, 0]] - vertices[whole[:, 2]]) ** 2).sum(axis=1)
    second = ((vertices[whole[:, 1]] - vertices[whole[:, 3]]) ** 2).sum(axis=1)
    turned = np.where((second < first)[:, None], np.roll(whole, -1, axis=1), whole)
    single = cell[missing == 1]
    # Rotating the missing corner to the front keeps the order of the other three.
    start = np.argmax(single < 0, axis=1)
    single = np.take_along_axis(single, (start[:, None] + np.arange(1, 4)) % 4, axis=1)
    return np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]], single])


@functools.lru_cache(maxsize=1)
def _grids() -> dict[str, np.ndarray]:
    """The five grids of indices into the full model, (lines, columns), -1 where the scan's border cuts; fans share line 0 with
    the square's border and their ends with each other."""
    square = np.arange(128 * _SIDE).reshape(128, _SIDE).T
    left, after = _side(128 * _SIDE, [_SIDE] * 49 + list(_SIDE_LINES), first=1, inward=True)
    right, after = _side(after, [_SIDE] * 50 + list(_SIDE_LINES), first=0, inward=False)
    centre = np.concatenate([square, right[:1].T], axis=1)
    left[0] = centre[:, 0]
    top, after = _fan(after, _TOP_LINES, centre[0], left[:, 0], right[:, 0], inward=True)
    bottom, _ = _fan(after, _BOTTOM_LINES, centre[-1], left[:, -1], right[:, -1], inward=False)
    return {"centre": centre, "left": left, "right": right, "top": top, "bottom": bottom}


def _side(start: int, lengths: list[int], *, first: int, inward: bool) -> tuple[np.ndarray, int]:
    grid = np.full((_REACH, _SIDE), -1, dtype=np.int64)
    lines = list(zip(range(first, _REACH), lengths))
    for line, length in reversed(lines) if inward else lines:
        top = _SIDE_START.get(length, _SIDE - length)
        grid[line, top:top + length] = np.arange(start, start + length)
        start += length
    return grid, start


def _fan(start: int, half: tuple[int, ...], border: np.ndarray, left: np.ndarray, right: np.ndarray, *,
         inward: bool) -> tuple[np.ndarray, int]:
    grid = np.full((_REACH, _SIDE), -1, dtype=np.int64)
    grid[0], grid[:, 0], grid[:, -1] = border, left, right
    for column, length in enumerate((*half, *half[-2::-1]), start=1):
        run = np.arange(start, start + length)
        grid[1:length + 1, column] = run[::-1] if inward else run
        start += length
    return grid, start
