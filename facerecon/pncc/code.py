"""What a projected normalised coordinate code is made of: its size, its background, its surface.

Source: Zhu et al., "Face Alignment Across Large Poses", CVPR 2016 (NCC, PNCC); Dornier's thesis, equations 1.5 and 1.6 and
section 4.2.2.1 (maps of 128 x 128 px).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel

# A pixel belongs to the face where its largest channel reaches this. The darkest place of the open model's code has 0.155
# in its largest channel (the jaw's corner), so no true pixel is lost; what is fainter is background, or the blur around it.
FOREGROUND_LEAST = 0.15


def foreground(code: np.ndarray, *, least: float = FOREGROUND_LEAST) -> np.ndarray:
    """(..., H, W) bool from codes (..., H, W, 3), float in [0, 1] or uint8: where the largest channel is at least `least`."""
    largest = code.max(axis=-1)
    return largest >= (np.floor(255 * least) if code.dtype == np.uint8 else least)


def cleaned(code: np.ndarray, *, least: float = FOREGROUND_LEAST) -> np.ndarray:
    """A raw map (..., H, W, 3) as a code: clipped to [0, 1], background exactly 0; a float32 copy."""
    code = np.clip(np.asarray(code, np.float32), 0, 1)
    return code * foreground(code, least=least)[..., None]


def code_box(model: MorphableModel) -> dict[str, list[float]]:
    """The corners in mm of the box in the mean shape that the colours span, {"low": [x, y, z], "high": [x, y, z]}.

    They tell two codes apart: a predictor's colours are read with the model they were made from.
    """
    spread = model.ncc.double()
    inside = ((spread > 0) & (spread < 1)).all(-1)
    # colour = (mean - low) / extent holds wherever nothing was clamped, so any two such places give both.
    low, high = [], []
    for axis in range(3):
        x, c = model.mean[inside, axis].double(), spread[inside, axis]
        first, last = int(x.argmin()), int(x.argmax())
        extent = float((x[last] - x[first]) / (c[last] - c[first]))
        low.append(round(float(x[first]) - extent * float(c[first]), 2))
        high.append(round(low[-1] + extent, 2))
    return {"low": low, "high": high}
