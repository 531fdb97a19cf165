"""The 52 ARKit actions on the fine mesh, mirror-symmetric in pairs."""

from __future__ import annotations

import numpy as np

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
