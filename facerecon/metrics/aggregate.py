"""From one error per image to the figures of a table: yaw bins, mean of bins, mean of all, balanced subset.

Two figures of the literature bear similar names. "Mean" in the 3DDFA line is the unweighted mean of the three bin means; the
3D-FAN line averages over a random subset with equally many images per bin. They are `mean_of_bins` and `balanced` here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from facerecon.checks import check_shape
from facerecon.errors import ArgumentError

YAW_EDGES = (30.0, 60.0)
BIN_NAMES = ("0-30", "30-60", "60-90")


@dataclasses.dataclass(frozen=True)
class Summary:
    """Figures of one metric over n images; a bin without images has mean NaN, and so has what needs it.

    Attributes:
        n: images with a finite value. counts: (3,) of them per bin.
        bins: (3,) mean per bin. mean_of_bins: unweighted mean of the bin means; std_of_bins: their standard deviation.
        mean_all: mean over the n images. median: over the n images.
        balanced: mean over equal random subsets of the bins, averaged over the seeds; balanced_size: images per bin.
        balanced_seeds: the seeds.
    """

    n: int
    counts: tuple[int, ...]
    bins: tuple[float, ...]
    mean_of_bins: float
    std_of_bins: float
    mean_all: float
    median: float
    balanced: float
    balanced_size: int
    balanced_seeds: tuple[int, ...]


def yaw_bins(yaw_deg: np.ndarray, *, edges: Sequence[float] = YAW_EDGES) -> np.ndarray:
    """Bin of each image by |yaw|: 0 for [0, 30], 1 for (30, 60], 2 beyond, in degrees.

    Angles are not wrapped: AFLW2000-3D has seven fitted yaws beyond 90 degrees, and they belong to the last bin.
    """
    yaw = np.asarray(yaw_deg, dtype=np.float64)
    if not np.isfinite(yaw).all():
        raise ArgumentError(f"yaw_deg: wanted finite numbers, got {int((~np.isfinite(yaw)).sum())} others", code="nonfinite")
    return np.searchsorted(np.asarray(edges, dtype=np.float64), np.abs(yaw), side="left")


def bin_means(errors: np.ndarray, bins: np.ndarray, *, count: int = len(BIN_NAMES)) -> np.ndarray:
    """Mean error per bin, (count,); NaN errors are left out, and a bin without errors is NaN."""
    errors, bins = _checked(errors, bins)
    kept = np.isfinite(errors)
    sums = np.bincount(bins[kept], weights=errors[kept], minlength=count)
    numbers = np.bincount(bins[kept], minlength=count)
    return np.divide(sums, numbers, out=np.full(count, np.nan), where=numbers > 0)


def mean_of_bins(errors: np.ndarray, bins: np.ndarray, *, count: int = len(BIN_NAMES)) -> float:
    """Unweighted mean of the bin means; NaN when a bin has no image."""
    return float(bin_means(errors, bins, count=count).mean())


def balanced_subset_mean(errors: np.ndarray, bins: np.ndarray, *, seeds: Sequence[int], size: int | None = None,
                         count: int = len(BIN_NAMES)) -> tuple[np.ndarray, int]:
    """Mean over a random subset with equally many images per bin, once per seed.

    Args:
        size: images per bin; by default as many as the smallest bin holds.

    Returns:
        (means (len(seeds),), size). NaN when a bin has no image.

    Raises:
        ArgumentError: `argument_invalid` when a bin holds fewer than `size`.
    """
    errors, bins = _checked(errors, bins)
    members = [np.flatnonzero((bins == which) & np.isfinite(errors)) for which in range(count)]
    smallest = min(len(found) for found in members)
    size = smallest if size is None else size
    if size > smallest:
        raise ArgumentError(f"size: wanted at most {smallest}, the images of the smallest bin, got {size}")
    if size == 0:
        return np.full(len(seeds), np.nan), 0
    means = []
    for seed in seeds:
        generator = np.random.default_rng(seed)
        chosen = [generator.choice(found, size=size, replace=False) for found in members]
        means.append(errors[np.concatenate(chosen)].mean())
    return np.array(means), size


def summarise(errors: np.ndarray, bins: np.ndarray, *, seeds: Sequence[int] = tuple(range(10)),
              count: int = len(BIN_NAMES)) -> Summary:
    """All figures of one metric: errors (n,) with NaN where an image does not count, bins (n,)."""
    errors, bins = _checked(errors, bins)
    kept = np.isfinite(errors)
    means = bin_means(errors, bins, count=count)
    balanced, size = balanced_subset_mean(errors, bins, seeds=seeds, count=count)
    values = errors[kept]
    return Summary(
        n=int(kept.sum()), counts=tuple(int(number) for number in np.bincount(bins[kept], minlength=count)),
        bins=tuple(float(mean) for mean in means), mean_of_bins=float(means.mean()), std_of_bins=float(means.std()),
        mean_all=float(values.mean()) if values.size else float("nan"),
        median=float(np.median(values)) if values.size else float("nan"),
        balanced=float(balanced.mean()) if len(balanced) else float("nan"), balanced_size=size,
        balanced_seeds=tuple(int(seed) for seed in seeds))


def _checked(errors: np.ndarray, bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    errors = np.asarray(errors, dtype=np.float64)
    check_shape("errors", errors, (None,))
    return errors, check_shape("bins", np.asarray(bins, dtype=np.int64), (len(errors),))
