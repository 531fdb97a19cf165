"""What covers the skin in a photo: hair, hats, glasses, hands, or background where the outline is wrong."""

from __future__ import annotations

import numpy as np
import torch

# A patch counts as covered when its colours are this far (Euclidean RGB distance) from what the model can draw ...
DISTANCE_LEAST, DISTANCE_MEDIANS = 0.14, 2.2
# ... over a connected area of at least this share of the visible skin when it reaches the outline of the skin (hair, hats,
# beards, background), and of a larger share inside it (glasses, hands): brows, wrinkles and highlights are part of a face.
RIM_AREA_LEAST, INNER_AREA_LEAST = 0.004, 0.05


def covered_pixels(drawn: torch.Tensor, photo: torch.Tensor, skin: torch.Tensor) -> torch.Tensor:
    """(h, w) bool: pixels of `skin` where something else lies in front of it.

    Only patches count: single bad pixels (a mole, a highlight, a wrinkle) are skin. Not differentiable.

    Args:
        drawn, photo: (h, w, 3) RGB in [0, 1], after light and albedo were fitted robustly.
        skin: (h, w) bool, where the model shows skin.
    """
    import cv2

    count = int(skin.sum())
    if count == 0:
        return torch.zeros_like(skin)
    distance = torch.linalg.vector_norm(drawn.detach() - photo, dim=-1)
    limit = max(DISTANCE_LEAST, DISTANCE_MEDIANS * float(distance[skin].median()))
    far = (skin & (distance > limit)).numpy().astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    patches, labels, numbers, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(far, cv2.MORPH_OPEN, disc), connectivity=4)
    # The outline without the holes of eyes and mouth.
    filled = np.zeros_like(far)
    outlines, _ = cv2.findContours(skin.numpy().astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, outlines, -1, 1, thickness=cv2.FILLED)
    rim = (filled > 0) & (cv2.erode(filled, np.ones((7, 7), np.uint8), borderValue=0) == 0)
    on_rim = np.bincount(labels[rim], minlength=patches) > 0
    area = numbers[:, cv2.CC_STAT_AREA] / count
    large = np.flatnonzero(np.where(on_rim, area >= RIM_AREA_LEAST, area >= INNER_AREA_LEAST))
    covered = np.isin(labels, large[large > 0]).astype(np.uint8)
    # The rim of a patch mixes both colours.
    return torch.from_numpy(cv2.dilate(covered, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))) > 0) & skin
