"""Acquisition functions: which unlabelled photos a person should label next.

Uncertainty: the Negative Neighbourhood Magnitude (equation 3.1 of Dornier's thesis, equation 1 of SCAF) and the mean spatial
entropy of the heatmaps; the higher, the less sure the network is. Diversity: k-center greedy. `random_order` is the baseline of
all three.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from facerecon.alignment.heatmaps import brightest_pixels
from facerecon.checks import check_finite, check_range, check_shape
from facerecon.errors import ArgumentError

# Side of the window of the Negative Neighbourhood Magnitude, map px: a standard deviation (3.5 px) to each side of the peak.
# The papers name the side s and give no number.
WINDOW = 7
# Share of the highest scores that are taken for outliers (thesis 3.4.2, SCAF 4.6).
DISCARD = 0.1
# Maps whose entropy is computed at once on a CPU.
_IN_CACHE = 8


def nnm(heatmaps: Tensor, *, window: int = WINDOW, peaks: Tensor | None = None) -> Tensor:
    """Negative Neighbourhood Magnitude: minus the sum of each map around its peak, summed over the points.

    Args:
        heatmaps: (B, L, H, W) as predicted.
        window: odd side of the square around the brightest pixel, px; what leaves the map counts as 0.
        peaks: (B, L) places of the brightest pixels as row * W + column, where a prediction has found them already.

    Returns:
        (B,), higher is less sure.
    """
    check_shape("heatmaps", heatmaps, ("batch", "points", "height", "width"))
    if check_range("window", window, 1) % 2 != 1:
        raise ArgumentError(f"window: wanted an odd number of px, got {window}")
    height, width = heatmaps.shape[2:]
    heatmaps = heatmaps.float() if heatmaps.dtype in (torch.float16, torch.bfloat16) else heatmaps
    index = _peaks(heatmaps) if peaks is None else check_shape("peaks", peaks, tuple(heatmaps.shape[:2]))
    row, column = index // width, index % width
    high, wide = min(window, height), min(window, width)
    # Where the window would leave the map, the pixels that are read move inside, and those beyond the window do not count.
    top = (row - window // 2).clamp(0, height - high)
    left = (column - window // 2).clamp(0, width - wide)
    down, right = torch.arange(high, device=heatmaps.device), torch.arange(wide, device=heatmaps.device)
    places = (top * width + left)[..., None] + (down[:, None] * width + right).flatten()
    values = heatmaps.flatten(2).gather(2, places)
    moved = (top != row - window // 2) | (left != column - window // 2)
    if bool(moved.any()):
        inside = ((top[moved][:, None] + down - row[moved][:, None]).abs() <= window // 2)[:, :, None] & (
            (left[moved][:, None] + right - column[moved][:, None]).abs() <= window // 2)[:, None, :]
        values[moved] *= inside.flatten(1)
    return -values.sum((1, 2))


def spatial_entropy(heatmaps: Tensor) -> Tensor:
    """Mean over the points of the entropy of each map as a distribution over its pixels, in nats.

    Args:
        heatmaps: (B, L, H, W) as predicted; negative values count as 0. A map without a positive value is uniform.

    Returns:
        (B,) in [0, log(H W)]; higher is less sure.
    """
    check_shape("heatmaps", heatmaps, ("batch", "points", "height", "width"))
    heatmaps = heatmaps.float() if heatmaps.dtype in (torch.float16, torch.bfloat16) else heatmaps
    maps = heatmaps.detach().flatten(0, 1).flatten(1)
    entropy = torch.empty(len(maps), dtype=maps.dtype, device=maps.device)
    tiny = torch.finfo(maps.dtype).tiny
    # A few maps at a time in memory that is used again and stays in the cache: on a CPU five times as fast as all maps at once.
    part = _IN_CACHE if maps.device.type == "cpu" else max(len(maps), 1)
    shares, logarithms = (torch.empty_like(maps[:part], memory_format=torch.contiguous_format) for _ in range(2))
    for start in range(0, len(maps), part):
        some = maps[start:start + part]
        # The smallest number that has a logarithm stands for 0.
        positive = torch.clamp_min(some, tiny, out=shares[:len(some)])
        torch.log(positive, out=logarithms[:len(some)])
        # With p = h / m the entropy -sum p log p is log m - sum(h log h) / m: nothing is divided pixel by pixel.
        mass = positive.sum(1)
        found = mass.log() - torch.linalg.vecdot(positive, logarithms[:len(some)]) / mass
        uniform = torch.full_like(found, math.log(some.shape[1]))
        entropy[start:start + part] = torch.where(mass > 2 * tiny * some.shape[1], found, uniform)
    return entropy.view(heatmaps.shape[:2]).mean(1)


def k_center_greedy(features: np.ndarray, labelled: np.ndarray, k: int) -> np.ndarray:
    """The k samples that cover a feature space best, greedily: each time the one farthest from all that are labelled or chosen.

    Source: Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018, algorithm 1.

    Args:
        features: (N, D), one row per sample, such as latent codes; distances are Euclidean.
        labelled: indices of the samples that are labelled already, at least one.
        k: how many to choose, at most as many as are not labelled.

    Returns:
        (k,) indices in the order of choice; the lowest of equally far ones first.
    """
    features = check_finite("features", np.asarray(features, dtype=np.float64))
    check_shape("features", features, ("samples", "features"))
    taken = np.unique(_indices("labelled", labelled, len(features)))
    if not len(taken):
        raise ArgumentError("labelled: wanted at least one index to measure distances from, got none; draw the first samples "
                            "with random_order")
    check_range("k", k, 0, len(features) - len(taken))
    distances = np.min([_squared(features, features[index]) for index in taken], axis=0)
    distances[taken] = -1.0
    chosen = np.empty(k, dtype=np.int64)
    for place in range(k):
        chosen[place] = distances.argmax()
        distances = np.minimum(distances, _squared(features, features[chosen[place]]))
        # A copy of a labelled sample has distance 0 and may still be chosen; what is taken may not.
        distances[chosen[:place + 1]] = -1.0
    return chosen


def random_order(count: int, *, seed: int) -> np.ndarray:
    """The numbers 0 to count - 1 in an order that the seed alone decides: (count,) int64."""
    return np.random.default_rng(check_range("seed", seed, 0)).permutation(check_range("count", count, 0))


def select(scores: np.ndarray, k: int, *, discard: float = DISCARD) -> np.ndarray:
    """The k samples with the highest scores, after the very highest are left out as outliers.

    Args:
        scores: (N,) of the unlabelled samples; higher is less sure.
        k: how many.
        discard: share of the ranked samples that is left out at the top, rounded down to whole samples.

    Returns:
        (k,) indices, highest score first; equal scores in the order of their indices.

    Raises:
        ArgumentError: when fewer than k are left.
    """
    scores = check_finite("scores", np.asarray(scores, dtype=np.float64))
    check_shape("scores", scores, ("samples",))
    check_range("discard", float(discard), 0.0, 1.0)
    # 0.29 * 100 is a little less than 29 in binary.
    dropped = math.floor(discard * len(scores) + 1e-9)
    if check_range("k", k, 0) > len(scores) - dropped:
        raise ArgumentError(f"k: wanted at most the {len(scores) - dropped} samples that are left of {len(scores)} after "
                            f"{dropped} are discarded, got {k}")
    return np.argsort(-scores, kind="stable")[dropped:dropped + k]


def _peaks(heatmaps: Tensor) -> Tensor:
    """`brightest_pixels`, a fifth faster for single precision on a CPU: as fast as memory can be read."""
    if heatmaps.device.type != "cpu" or heatmaps.dtype != torch.float32:
        return brightest_pixels(heatmaps)
    # The bits of positive numbers, read as integers, are in the order of the numbers, and NaN needs no look of its own.
    flat = heatmaps.detach().flatten(2)
    index = torch.from_numpy(flat.view(torch.int32).numpy().argmax(axis=2))
    wrong = flat.gather(2, index[..., None])[..., 0] <= 0
    if bool(wrong.any()):
        index[wrong] = brightest_pixels(heatmaps[wrong][None])[0]
    return index


def _squared(features: np.ndarray, centre: np.ndarray) -> np.ndarray:
    difference = features - centre
    return np.einsum("nd,nd->n", difference, difference)


def _indices(name: str, values: np.ndarray, count: int) -> np.ndarray:
    array = np.asarray(values).reshape(-1)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= count:
        raise ArgumentError(f"{name}: wanted indices from 0 to {count - 1}, got {array.tolist()[:10]}")
    return array.astype(np.int64)
