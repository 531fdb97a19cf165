"""Bootstrap intervals of the figures of a table, and of the difference of two methods on the same images.

Images are drawn with replacement within each yaw bin, so that every resample has the bins of the original and the mean of
bins is always defined; `mean_all` is the resample's plain mean. Percentile intervals (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.checks import check_range, check_shape
from facerecon.metrics.aggregate import BIN_NAMES, bin_means

RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure with its interval: `low` <= figure <= `high` at the stated level; NaN where it is not defined."""

    figure: float
    low: float
    high: float


def resampling_counts(bins: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each image is drawn in each resample: (resamples, n) uint16, drawn within the bins.

    Make it once and use it for every metric: resamples then share their images, as the metrics do.
    """
    check_range("resamples", resamples, 1)
    bins = np.asarray(bins, dtype=np.int64)
    check_shape("bins", bins, (None,))
    generator = np.random.default_rng(seed)
    counts = np.zeros((resamples, len(bins)), dtype=np.uint16)
    for which in np.unique(bins):
        members = np.flatnonzero(bins == which)
        counts[:, members] = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    return counts


def bootstrap_intervals(errors: np.ndarray, bins: np.ndarray, counts: np.ndarray, *, level: float = 0.95) -> dict[str, Interval]:
    """Intervals of one metric's figures.

    Args:
        errors: (n,) with NaN where an image does not count.
        bins: (n,) bin of each image.
        counts: from `resampling_counts` with the same bins.
        level: coverage of the interval.

    Returns:
        Keys "0-30", "30-60", "60-90", "mean_of_bins", "mean_all".
    """
    check_range("level", level, 0.0, 1.0)
    errors, bins = np.asarray(errors, dtype=np.float64), np.asarray(bins, dtype=np.int64)
    check_shape("counts", counts, (None, len(errors)))
    kept = np.isfinite(errors)
    sums, numbers = np.zeros((len(counts), len(BIN_NAMES))), np.zeros((len(counts), len(BIN_NAMES)))
    for which in range(len(BIN_NAMES)):
        members = np.flatnonzero(kept & (bins == which))
        drawn = counts[:, members].astype(np.float64)
        sums[:, which], numbers[:, which] = drawn @ errors[members], drawn.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / numbers
        everything = sums.sum(axis=1) / numbers.sum(axis=1)
    figures = bin_means(errors, bins)
    result = {name: _interval(figure, means[:, which], level)
              for which, (name, figure) in enumerate(zip(BIN_NAMES, figures))}
    result["mean_of_bins"] = _interval(float(figures.mean()), means.mean(axis=1), level)
    result["mean_all"] = _interval(float(errors[kept].mean()) if kept.any() else float("nan"), everything, level)
    return result


def paired_difference(first: np.ndarray, second: np.ndarray, bins: np.ndarray, counts: np.ndarray, *,
                      level: float = 0.95) -> dict[str, Interval]:
    """Intervals of `first` minus `second` on the same images: negative where the first method has the smaller error.

    Images where either is NaN are left out. Pairing removes what is hard about an image for both, so the interval of the
    difference is narrower than the two intervals suggest.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    check_shape("second", second, (len(first),))
    return bootstrap_intervals(first - second, bins, counts, level=level)


def _interval(figure: float, samples: np.ndarray, level: float) -> Interval:
    samples = samples[np.isfinite(samples)]
    if samples.size == 0 or not np.isfinite(figure):
        return Interval(float(figure), float("nan"), float("nan"))
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(figure), float(low), float(high))
