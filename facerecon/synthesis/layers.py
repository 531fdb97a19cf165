"""Layers of a picture that are drawn one by one: the nearest wins, and what is not opaque lets through what is behind it."""

from __future__ import annotations

import numpy as np

from facerecon.geometry.compiled import compiled


@compiled
def lay_over(colour, cover, nearest, drawn, depth):
    """Lay a drawn layer over what is there, in place.

    Args:
        colour: (H, W, 3) float32, colours times their cover.
        cover: (H, W) float32, the opaque share of each pixel.
        nearest: (H, W) float32, depth of the nearest surface, inf where there is none.
        drawn: (H, W, 4) float32, the layer's colour and opacity.
        depth: (H, W) float32, its depth, inf where it has no surface.
    """
    for row in range(colour.shape[0]):
        for column in range(colour.shape[1]):
            if depth[row, column] < nearest[row, column]:
                opacity = drawn[row, column, 3]
                for channel in range(3):
                    colour[row, column, channel] += opacity * (drawn[row, column, channel] - colour[row, column, channel])
                cover[row, column] += opacity * (np.float32(1) - cover[row, column])
                nearest[row, column] = depth[row, column]
