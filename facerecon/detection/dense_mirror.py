"""MediaPipe's 478 landmarks of a mirrored picture, brought back to the picture itself."""

from __future__ import annotations

import numpy as np

# Points on the middle plane of the face, their own partners.
_MIDDLE = (0, 1, 2, 4, 5, 6, *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200)
_MESH_SPLIT, _MESH_END = 248, 468
# The two irises: centre, then four points round it; outer and inner change places.
_IRISES = ((468, 473), (469, 476), (470, 475), (471, 474), (472, 477))


def _partners() -> np.ndarray:
    # The topology numbers one half of the face in 0 to 247 (the middle among it) and the other half from 248, in one order.
    partners = np.arange(478)
    first = [i for i in range(_MESH_SPLIT) if i not in _MIDDLE]
    for i, j in (*zip(first, range(_MESH_SPLIT, _MESH_END)), *_IRISES):
        partners[i], partners[j] = j, i
    return partners


PARTNERS = _partners()
"""(478,) int: the point that takes each point's place when the face is mirrored; applying it twice changes nothing."""


def unmirror_points(points: np.ndarray, width: int) -> np.ndarray:
    """Landmarks (478, 2 or more) found in a mirrored picture of this width, px, as landmarks of the picture itself."""
    restored = np.array(points)[PARTNERS]
    restored[:, 0] = width - 1 - restored[:, 0]
    return restored


def unmirror_blendshapes(scores: dict[str, float]) -> dict[str, float]:
    """Blendshape scores of a mirrored face as scores of the face itself: Left and Right change places."""
    return {name: scores.get(_other_side(name), score) for name, score in scores.items()}


def _other_side(name: str) -> str:
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name[: -len(side)] + other
    # jawLeft and mouthRight end in the side too; nothing is left to do for the others.
    return name
