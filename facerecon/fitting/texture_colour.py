"""Broad colour differences between two layers of a texture, carried smoothly over the surface.

Two layers that meet (photo and mirrored photo, photo and model) differ in light and skin tone. The ratio of their colours
where both are known is extended over the mesh, like a membrane that is held there and pulled softly to its mean elsewhere
(the idea of Perez, Gangnet and Blake, "Poisson Image Editing", SIGGRAPH 2003, on ratios and with a screening term). The
lower layer times the extended ratio then meets the upper one without a seam. Working on the mesh and not on the atlas keeps
the result free of the atlas's own seams.
"""

from __future__ import annotations

import cv2
import numpy as np

from facerecon.fitting.texture_atlas import AtlasMaps
from facerecon.geometry.compiled import compiled

LOW_SIZE = 256
"""Texels on a side at which broad colour is compared."""

_DARKEST = 0.035
_TINT_LIMIT = 0.16
# Lengths on the surface in mm: details smaller than the first are left to the layers, beyond the second the mean rules.
_DETAIL_MM, _REACH_MM = 4.0, 60.0


def reduced(image: np.ndarray) -> np.ndarray:
    """A texel image at the size at which broad differences are taken."""
    side = min(LOW_SIZE, image.shape[0])
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def log_ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Logarithm of one colour over another, tamed in the dark."""
    return np.log((upper + np.float32(_DARKEST)) / (lower + np.float32(_DARKEST)))


def broad_ratio(low: AtlasMaps, upper: np.ndarray, lower: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithm of upper over lower colour around each vertex, and how well it is known.

    Args:
        low: maps of the reduced atlas, T texels on a side.
        upper, lower: reduced texel images (T, T, 3) in [0, 1].
        weight: reduced (T, T), how far both are known.

    Returns:
        (V, 3) float32 and (V,) float32 in [0, 1]. Values without weight are 0.
    """
    held = weight[..., None]
    above, below, known = (cv2.GaussianBlur(image, (0, 0), 1.5) for image in (upper * held, lower * held, weight))
    share = np.maximum(known, 1e-4)[..., None]
    ratio = log_ratio(above / share, below / share)
    ratio[known < 1e-3] = 0.0
    at_vertices = _sample(np.concatenate([ratio, known[..., None]], axis=-1), low.place[:, 0], low.place[:, 1])
    return at_vertices[:, :3], np.clip(at_vertices[:, 3], 0.0, 1.0)


def extend(maps: AtlasMaps, values: np.ndarray, known: np.ndarray, *, iterations: int = 60, tolerance: float = 1e-2) -> np.ndarray:
    """Vertex values (V, 3), known as far as `known` (V,) in [0, 1] says, extended over the whole surface.

    Minimises sum known |x - values|^2 / detail^2 + sum over edges |difference|^2 / length^2 + sum |x - mean|^2 / reach^2 by
    conjugate gradients with the diagonal as preconditioner.
    """
    total = float(known.sum())
    if total < 1e-6:
        return np.zeros_like(values)
    mean = (known[:, None] * values).sum(axis=0) / total
    hold = (known / _DETAIL_MM**2).astype(np.float32)
    pull = np.float32(1.0 / _REACH_MM**2)
    # Solved for the difference from the mean, which is where the pull leads.
    wanted = hold[:, None] * (values - mean).astype(np.float32)
    graph = maps.neighbours
    x = _conjugate_gradients(graph.indptr, graph.indices, graph.data, hold + pull + maps.degree, wanted, iterations, tolerance)
    return x + mean.astype(np.float32)


@compiled
def _conjugate_gradients(starts, columns, weights, diagonal, wanted, iterations, tolerance):
    """Solve (diagonal - W) x = wanted for three channels together; W is a sparse matrix by rows. Starts from 0."""
    count, channels = wanted.shape
    x = np.zeros_like(wanted)
    residual = wanted.copy()
    direction = np.empty_like(wanted)
    image = np.empty_like(wanted)
    energy = np.zeros(channels)
    for row in range(count):
        for channel in range(channels):
            direction[row, channel] = residual[row, channel] / diagonal[row]
            energy[channel] += residual[row, channel] * direction[row, channel]
    goal = tolerance * tolerance * energy
    for _ in range(iterations):
        if (energy <= goal).all():
            break
        curvature = np.zeros(channels)
        for row in range(count):
            # Three sums in registers: this loop is where the time goes.
            red = diagonal[row] * direction[row, 0]
            green = diagonal[row] * direction[row, 1]
            blue = diagonal[row] * direction[row, 2]
            for place in range(starts[row], starts[row + 1]):
                other = columns[place]
                weight = weights[place]
                red -= weight * direction[other, 0]
                green -= weight * direction[other, 1]
                blue -= weight * direction[other, 2]
            image[row, 0], image[row, 1], image[row, 2] = red, green, blue
            curvature[0] += red * direction[row, 0]
            curvature[1] += green * direction[row, 1]
            curvature[2] += blue * direction[row, 2]
        along = energy / np.maximum(curvature, 1e-30)
        fresh = np.zeros(channels)
        for row in range(count):
            for channel in range(channels):
                x[row, channel] += along[channel] * direction[row, channel]
                residual[row, channel] -= along[channel] * image[row, channel]
                fresh[channel] += residual[row, channel] * residual[row, channel] / diagonal[row]
        ratio = fresh / np.maximum(energy, 1e-30)
        for row in range(count):
            for channel in range(channels):
                direction[row, channel] = residual[row, channel] / diagonal[row] + ratio[channel] * direction[row, channel]
        energy = fresh
    return x


def unlike(ratio: np.ndarray, expected: np.ndarray, *, brightness_limit: float = 0.45) -> np.ndarray:
    """How far colours are from what a surface should have there: (..., 3) log ratios -> (...), where 1 is the limit.

    Brightness may differ by a factor exp(brightness_limit), about 1.6 for light and shadow; hue and saturation by much less.
    """
    difference = ratio - expected
    brightness = difference.mean(axis=-1)
    tint = difference - brightness[..., None]
    return np.sqrt((brightness / brightness_limit) ** 2 + (tint**2).sum(axis=-1) / _TINT_LIMIT**2)


def _sample(image: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    # OpenCV limits the side of a map to 32767; a long list becomes a block.
    side = int(np.ceil(np.sqrt(len(column))))
    pad = side * side - len(column)
    maps = [np.pad(value.astype(np.float32), (0, pad)).reshape(side, side) for value in (column, row)]
    out = cv2.remap(image.astype(np.float32), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out.reshape(-1, image.shape[-1])[:len(column)]

